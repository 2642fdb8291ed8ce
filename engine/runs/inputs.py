"""Everything that a run needs, loaded and checked before the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from engine.config import RunConfig
from engine.config.evaluate import EvaluatedModel
from engine.dataset.base import BaseDataset
from engine.diversity.sameness import suited
from engine.documents.shelf import Shelf
from engine.errors import ConfigError, EmbedderUnavailable
from engine.evaluation.rows import Evaluated
from engine.items import Prompt, usd
from engine.llm.prices import Prices, prices_of
from engine.llm.tokens import prompt_bound
from engine.planning.turns import Turns
from engine.prompts.render import ItemPrompts
from engine.prompts.rows import RowPrompts
from engine.prompts.template import check_replacements
from engine.protocols import Embedder
from engine.quality.taken_up import Calibrated
from engine.runs.plugins import load_validators, no_calls


@dataclass(frozen=True)
class Inputs:
    """Everything that a mode loads and checks before the first call; see engine.runs.modes."""

    config: RunConfig
    dataset: BaseDataset
    """The base dataset of a generation; for a mode that works on rows, the dataset with these rows."""
    target: int
    """The number of items to accept; for a mode that works on rows, the number of rows."""
    prices: Prices | None
    """None if the price of a model is unknown."""
    same: str = "text"
    """The kind of sameness that the group check uses, if there is a group check."""
    embedder: Embedder | None = None
    """Not yet open; None if the run needs no vectors."""
    evaluated: tuple[Evaluated, ...] = ()
    """The datasets of an evaluation; `dataset` is the first."""
    tested: tuple[EvaluatedModel, ...] = ()
    """The models that an evaluation tests, if they are not the main one."""
    calibrated: Calibrated | None = None
    """The calibration that the config names."""
    shelf: Shelf | None = None
    """The documents that items are made from."""
    row_prompts: RowPrompts | None = None
    """What is asked for rows, in a run that maps."""

    @cached_property
    def turns(self) -> Turns | None:
        """Which passages batches are made from, where that is documents."""
        documents, generate = self.config.documents, self.config.generate
        if self.shelf is None or documents is None:
            return None
        usable = self.shelf.usable()
        return Turns(usable, documents, generate.batch_size, self.config.seed, self.shelf.passage)

    @cached_property
    def prompts(self) -> ItemPrompts:
        """The requests for new items. Raises ConfigError if their template is wrong."""
        return ItemPrompts(self.config, self.dataset)


def loaded(
    config: RunConfig,
    dataset: BaseDataset,
    target: int,
    *,
    vectors: bool = False,
    evaluated: tuple[Evaluated, ...] = (),
    tested: tuple[EvaluatedModel, ...] = (),
    shelf: Shelf | None = None,
) -> Inputs:
    """Loads and checks what all modes need. `vectors`: whether the run needs vectors besides a group check's.

    `target` is set in the config, so that the run folder records it. Raises ConfigError.
    """
    # It comes with all that calls need, which a run that is only looked at does without.
    from engine.runs.lanes import check_batches

    config = config.changed(generate=config.generate.model_copy(update={"target": target}))
    prices = prices_within(config, tested)
    check_batches(config)
    check_replacements(config)
    load_validators(config, no_calls, dataset.fields, shelf=shelf)
    same = _sameness(config, dataset)
    compares = config.groupcheck is not None and same != "text"
    embedder = _embedder(config) if compares or vectors else None
    taken_up = Calibrated.read(config)
    return Inputs(config, dataset, target, prices, same, embedder, evaluated, tested, taken_up, shelf)


def prices_within(config: RunConfig, tested: tuple[EvaluatedModel, ...] = ()) -> Prices | None:
    """The prices; None if one is unknown. Raises ConfigError if there is a cap, which needs all prices."""
    others = {**config.purpose_models(), **{f"answer@{model.called}": model for model in tested}}
    prices, unknown = prices_of(config.endpoints, others)
    if unknown is not None and config.limits.budget_usd is not None:
        name = others[unknown].name if unknown in others else unknown.removeprefix("main: ")
        raise config.wrong(
            "limits.budget_usd",
            f"the price of {name!r} is not known, so a cap cannot be kept; set {_price_key(unknown, others)} "
            "(US dollars per million tokens) or remove the cap",
        )
    return prices


def _price_key(unknown: str, others: Mapping[str, object]) -> str:
    """The config key for the price of the model that answers this."""
    if unknown not in others:
        return "model.price"
    if unknown == "embedding":
        return "embedding.endpoint.price"
    return "evaluate.models[].price" if unknown.startswith("answer@") else f"model.purposes.{unknown}.price"


def check_affordable(
    config: RunConfig, prices: Prices | None, prompt: Prompt, length: str = "generate.max_tokens"
) -> None:
    """Raises ConfigError for limits under which such a call can never be sent. `length`: the key of its length."""
    limits = config.limits
    if limits.tokens_per_minute is not None and limits.tokens_per_minute < prompt.max_tokens:
        raise config.wrong(
            "limits.tokens_per_minute",
            f"{limits.tokens_per_minute:g} is less than one call may take ({length}: {prompt.max_tokens})",
        )
    if prices is None or limits.budget_usd is None:
        return
    worst = usd(prices.for_route(prompt.route).worst(prompt_bound(prompt, 0), prompt.max_tokens))
    if worst > limits.budget_usd:
        raise config.wrong(
            "limits.budget_usd",
            f"${limits.budget_usd:g} is less than one call may cost (${worst:.4f}, with "
            f"{prompt.max_tokens} completion tokens); raise it, or set {length}",
        )


def _sameness(config: RunConfig, dataset: BaseDataset) -> str:
    """The configured kind of sameness, or the one that suits the dataset."""
    spec = config.groupcheck
    if spec is None:
        return "text"
    if spec.same == "meaning+answer" and config.dataset.fields.label is None:
        raise config.wrong("groupcheck.same", "meaning+answer compares labels, and dataset.fields names none")
    return suited(dataset.examples or dataset.samples) if spec.same == "auto" else spec.same


def _embedder(config: RunConfig) -> Embedder:
    """Raises ConfigError if the model is not available."""
    from engine.diversity.embedding import embedder_of  # loads numpy: for runs that need it

    # A simulated endpoint has a new address at each start, and its vectors match no real endpoint's.
    address = "a simulated endpoint" if config.main.simulated else config.main.base_url
    try:
        return embedder_of(config.embedding, address)
    except EmbedderUnavailable as error:
        raise ConfigError(str(error)) from None


def without_effect(inputs: Inputs) -> Iterator[tuple[str, str]]:
    """Settings that differ from their defaults and change nothing in this run, each with the reason."""
    config = inputs.config
    if inputs.embedder is None and config.embedding != type(config.embedding)():
        yield "embedding", "has no effect: nothing in this run compares meanings or clusters examples"
    for difference in inputs.calibrated.differences(config) if inputs.calibrated is not None else ():
        yield "quality.calibration", f"is of other checks: {difference}"
    group = config.groupcheck
    if group is not None and group.same == "text" and group.threshold is not None:
        yield "groupcheck.threshold", "has no effect: with same: text, only equal texts are the same"
    if config.generate.few_shot == 0 and config.generate.selection != "random":
        yield "generate.selection", "has no effect: generate.few_shot is 0, so no examples are chosen"
    if config.limits.hedge is not None and config.limits.concurrency == 1:
        yield "limits.hedge", "has no effect: with one call in flight there is no second one"
