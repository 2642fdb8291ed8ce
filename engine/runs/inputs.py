"""Everything a run needs, loaded and checked before the first call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from itertools import islice
from typing import Any, Literal

from engine.config import GenerateConfig, RunConfig
from engine.config.evaluate import EvaluatedData
from engine.config.run import ValidatorConfig
from engine.dataset.base import BaseDataset
from engine.dataset.fields import Fields
from engine.diversity.sameness import suited
from engine.errors import ConfigError, Defect, EmbedderUnavailable, EngineError
from engine.evaluation.rows import Evaluated
from engine.planning.guidance import check_guidance, selectors_of, selects_by_vectors
from engine.items import Batch, Prompt, usd
from engine.llm.prices import Prices, prices_of
from engine.llm.tokens import prompt_bound
from engine.prompts.templates import check_replacements
from engine.prompts.render import ItemPrompts
from engine.prompts.replies import object_in
from engine.protocols import Ask, Described, Embedder, Tools, Validator
from engine.planning.strategies import Choice
from engine.planning.plan import Planner
from engine.runs.plugins import load_validators, no_calls

Mode = Literal["run", "audit", "enhance", "evaluate", "judge"]
"""New items; or the rows of a dataset that is there: checked, made harder, put to models, their answers judged."""
DIFFICULTY = "difficulty"


@dataclass(frozen=True)
class Inputs:
    """Everything that can be wrong before the first call, loaded."""

    config: RunConfig
    dataset: BaseDataset
    prompts: ItemPrompts
    prices: Prices | None
    """None where the price of a model is not known."""
    same: str = "text"
    """The kind of sameness that the group check goes by, where there is one."""
    embedder: Embedder | None = None
    """Not yet open; None where the run needs no vectors."""
    mode: Mode = "run"
    again: bool = False
    """Of judging: whether what is judged is gone through once more, for what was left open."""
    evaluated: tuple[Evaluated, ...] = ()
    """The datasets of an evaluation; `dataset` is the first."""

    @property
    def existing(self) -> bool:
        """Whether `dataset` is itself what is worked on, rather than what to start from."""
        return self.mode != "run"

    @classmethod
    def of_existing(cls, config: RunConfig, mode: Mode = "audit") -> Inputs:
        """For work on the rows of `dataset.path`. Raises ConfigError."""
        if config.dataset.path is None:
            raise ConfigError(f"dataset.path: is missing; it is the dataset to {mode}")
        if mode == "enhance":
            config = _enhancing(config)
        dataset = BaseDataset.streamed(config.dataset)
        prices = _prices(config)
        check_replacements(config.prompts)
        load_validators(config, no_calls, dataset.fields)
        generate = config.generate.model_copy(update={"target": dataset.rows})
        config = config.changed(generate=generate)
        same = _same(config, dataset)
        embedder = _embedder(config) if config.groupcheck is not None and same != "text" else None
        return cls(config, dataset, ItemPrompts(config, dataset), prices, same, embedder, mode)

    @property
    def evaluates(self) -> bool:
        return self.mode in ("evaluate", "judge")

    @classmethod
    def of_evaluation(cls, config: RunConfig, mode: Mode, *, again: bool = False) -> Inputs:
        """For putting the rows of `evaluate.datasets` to models. Raises ConfigError."""
        if not config.evaluate.datasets:
            raise ConfigError("evaluate.datasets: names no dataset; give one on the command line, or here")
        if config.dataset.fields.label is None:
            raise ConfigError("dataset.fields.label: is missing; without labels no answer can be scored")
        evaluated = tuple(_evaluated(config, each) for each in config.evaluate.datasets)
        _check_breakdown(config, evaluated)
        total = sum(each.base.rows for each in evaluated) * len(config.tested)
        generate = GenerateConfig(target=max(total, 1), few_shot=0)
        config = config.changed(generate=generate, groupcheck=None).evaluating()
        first = evaluated[0].base
        check_replacements(config.prompts)
        load_validators(config, no_calls, first.fields)
        prompts, prices = ItemPrompts(config, first), _prices(config)
        return cls(config, first, prompts, prices, mode=mode, again=again, evaluated=evaluated)

    @classmethod
    def load(cls, config: RunConfig) -> Inputs:
        """Raises ConfigError."""
        dataset = BaseDataset.load(config.dataset)
        check_guidance(config.generate, dataset)
        prices = _prices(config)
        prompts = ItemPrompts(config, dataset)
        first = prompts.render(_sample(config, dataset))
        _affordable(config, prices, first)
        check_replacements(config.prompts)
        load_validators(config, no_calls, dataset.fields)
        tokens = config.limits.tokens_per_minute
        if tokens is not None and tokens < config.generate.completion_limit:
            raise ConfigError(
                f"limits.tokens_per_minute: {tokens:g} is less than one call may take "
                f"(generate.max_tokens: {config.generate.completion_limit})"
            )
        same = _same(config, dataset)
        compares = config.groupcheck is not None and same != "text"
        embedder = _embedder(config) if compares or selects_by_vectors(config.generate) else None
        return cls(config, dataset, prompts, prices, same, embedder)


def _sample(config: RunConfig, dataset: BaseDataset) -> Batch:
    """A batch with all that a template may speak of."""
    ratio, generate = config.dataset.ratio, config.generate
    labels = tuple((label, 1) for label in ratio.weights) if ratio is not None else ()
    selectors = selectors_of(generate, dataset, config.seed, None)
    choice = Choice(next(iter(generate.ways)), tuple((name, "a value") for name in generate.attributes))
    batch = Planner(generate, config.seed, selectors).batch(0, labels, choice)
    batch = replace(batch, notes=("a note",), lessons=("a lesson",))
    return replace(batch, unlike=("a text",)) if config.groupcheck is not None else batch


def _same(config: RunConfig, dataset: BaseDataset) -> str:
    """The declared kind of sameness, or the one that suits the dataset."""
    spec = config.groupcheck
    if spec is None:
        return "text"
    if spec.same == "meaning+answer" and config.dataset.fields.label is None:
        raise ConfigError("groupcheck.same: meaning+answer compares labels, and dataset.fields names none")
    return suited(dataset.examples or dataset.samples) if spec.same == "auto" else spec.same


def _embedder(config: RunConfig) -> Embedder:
    """Raises ConfigError where the model is not to be had."""
    from engine.diversity.embedding import embedder_of  # loads numpy: for runs that need it

    # A simulated endpoint has another address at each start, and no real one's vectors.
    address = "a simulated endpoint" if config.main.simulated else config.main.base_url
    try:
        return embedder_of(config.embedding, address)
    except EmbedderUnavailable as error:
        raise ConfigError(str(error)) from None


def _prices(config: RunConfig) -> Prices | None:
    """Raises ConfigError where there is a cap and no price to keep it by."""
    models = config.models()
    prices, unknown = prices_of(config.endpoints, models)
    if unknown is not None and config.limits.budget_usd is not None:
        name = models[unknown].name if unknown in models else unknown.removeprefix("main: ")
        key = "model.price" if unknown not in models else None
        key = "embedding.endpoint.price" if unknown == "embedding" else key
        key = "evaluate.models[].price" if unknown.startswith("answer@") else key
        raise ConfigError(
            f"limits.budget_usd: the price of {name!r} is not known, so a cap cannot be kept; "
            f"set {key or f'model.purposes.{unknown}.price'} (US dollars per million tokens) or remove the cap"
        )
    return prices


def _affordable(config: RunConfig, prices: Prices | None, prompt: Prompt) -> None:
    """Raises ConfigError for a cap under which no call can ever be sent."""
    cap = config.limits.budget_usd
    if prices is None or cap is None:
        return
    worst = usd(prices.of(prompt.route).worst(prompt_bound(prompt, 0), prompt.max_tokens))
    if worst > cap:
        raise ConfigError(
            f"limits.budget_usd: ${cap:g} is less than one call may cost (${worst:.4f}, with "
            f"{prompt.max_tokens} completion tokens); raise it, or set generate.max_tokens"
        )


def _check_breakdown(config: RunConfig, evaluated: Sequence[Evaluated]) -> None:
    """Raises ConfigError for a field that no dataset has."""
    rows = [row for each in evaluated for _, row in islice(each.rows(), 200) if isinstance(row, dict)]
    there = dict.fromkeys(name for row in rows for name in row if name != "_meta")
    for name in config.evaluate.by:
        if name not in there:
            raise ConfigError(f"evaluate.by: no row has a field {name!r}; the fields are {', '.join(there)}")


def _evaluated(config: RunConfig, data: EvaluatedData) -> Evaluated:
    """A file, or what a run accepted. Raises ConfigError."""
    path = data.path / "accepted.jsonl" if data.path.is_dir() else data.path
    spec = config.dataset.model_copy(update={"path": path, "format": None})
    return Evaluated(data.name, spec, BaseDataset.streamed(spec))


def _enhancing(config: RunConfig) -> RunConfig:
    """With the difficulty validator last; the others are there to check what it makes, and rows stay rows."""
    specs = [spec for spec in config.validators if spec.name != DIFFICULTY]
    last = next(
        (spec for spec in config.validators if spec.name == DIFFICULTY), ValidatorConfig(name=DIFFICULTY)
    )
    return config.changed(validators=(*specs, last), groupcheck=None)
