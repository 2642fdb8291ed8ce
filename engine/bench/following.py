"""Which model keeps which constraint: every rule by itself, asked of every model, checked by program.

Strict: the item as it came keeps the rule. Loose, as IFEval has it (Zhou et al., 2023, arXiv 2311.07911): the item, or
one of its likenesses without the first line, the last line, or marks of emphasis, keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from engine.bench.run import generating
from engine.config import ModelConfig, RunConfig
from engine.config.run import ASSUMED_CONCURRENCY, ValidatorConfig
from engine.constraints import Constraint, FreeText, LabelRatio
from engine.dataset.base import BaseDataset
from engine.errors import FatalError, PermanentError, StopRun
from engine.flow.halt import Halt
from engine.items import PICO, Batch, Completion, Decision, Item, Prompt, usd
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.planning.guidance import selectors_of
from engine.planning.plan import Planner
from engine.prompts.render import ItemPrompts
from engine.protocols import Notify, Validator
from engine.quality.intervals import wilson
from engine.report.tables import Listing
from engine.runs.endpoints import coordinator_of, limiter_of, opened_backends
from engine.runs.modes import GenerateMode
from engine.runs.plugins import load_validators, no_calls
from engine.runs.session import client_of
from engine.stages.generate import read_items

if TYPE_CHECKING:
    from engine.llm.client import Client


@dataclass
class Followed:
    """One rule, one model. Mutable: the counts so far."""

    rule: str
    model: str
    asked: int = 0
    read: int = 0
    """Replies that hold an item."""
    strict: int = 0
    loose: int = 0

    def as_dict(self) -> dict[str, Any]:
        shares = {}
        for name in ("strict", "loose"):
            low, high = wilson(kept := getattr(self, name), self.read)
            shares[name] = {"share": kept / self.read if self.read else None, "low": low, "high": high}
        return {"rule": self.rule, "model": self.model, "asked": self.asked, "read": self.read, **shares}


@dataclass
class Following:
    """What came of it. Mutable while it is asked."""

    results: list[Followed] = field(default_factory=list)
    spent_usd: float = 0.0
    ended: str = ""
    """Why it ended early; '' where it did not."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "results": [each.as_dict() for each in self.results],
            "spent_usd": self.spent_usd,
            "ended": self.ended,
        }


class Unkept:
    """A journal that keeps nothing: a bench is not continued."""

    def find(self, key: str) -> Completion | PermanentError | None:
        return None

    async def authorize(self, amount: int) -> None: ...

    def sending(self, key: str, expected: int) -> None: ...

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None: ...


async def followed(config: RunConfig, each: int, notify: Notify) -> Following:
    """Asks every model for `each` items under every rule that a program checks. Raises ConfigError, FatalError.

    The models are those of `evaluate.models`, else the config's endpoints. The cap is that of all of them together.
    """
    rules = [rule for rule in config.dataset.constraints if not isinstance(rule, FreeText | LabelRatio)]
    if not rules:
        raise config.wrong(
            "dataset.constraints", "holds no rule that a program can check; docs/config.md lists them"
        )
    dataset = GenerateMode().load(generating(config)).dataset
    models: Sequence[ModelConfig] = config.evaluate.models or config.endpoints
    found, cap = Following(), config.limits.budget_usd
    budget = Budget(None if cap is None else int(cap * PICO))
    for model in models:
        alone = config.changed(model=model)
        name = getattr(model, "called", model.name)
        results = [Followed(rule.sentence(), name) for rule in rules]
        found.results += results
        try:
            await _of_model(alone, dataset, rules, results, each, budget)
        except StopRun as reason:
            found.ended = str(reason)
        done = sum(result.read for result in results)
        notify(f"{name}: {done:,} items under {len(rules)} rules")
        if found.ended:
            break
    found.spent_usd = usd(budget.spent)
    return found


async def _of_model(
    config: RunConfig,
    dataset: BaseDataset,
    rules: Sequence[Constraint],
    results: Sequence[Followed],
    each: int,
    budget: Budget,
) -> None:
    halt, clock = Halt(), time.monotonic
    async with opened_backends(config) as backends:
        with contextlib.closing(coordinator_of(config, clock)) as coordinator:
            limiter = limiter_of(config, backends, coordinator, clock=clock)
            client = client_of(config, Unkept(), limiter, budget, halt, CallCounts(), clock)
            place = asyncio.Semaphore(config.limits.concurrency or ASSUMED_CONCURRENCY)
            under = [
                (_Under(config, dataset, rule, client, halt, result), number * each)
                for number, (rule, result) in enumerate(zip(rules, results, strict=True))
            ]
            asking = (one.ask(batch, place) for one, first in under for batch in one.batches(first, each))
            for ended in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(ended, BaseException):
                    raise ended
    halt.check()


class _Under:
    """Items of one model under one rule alone."""

    def __init__(
        self,
        config: RunConfig,
        dataset: BaseDataset,
        rule: Constraint,
        client: Client,
        halt: Halt,
        result: Followed,
    ) -> None:
        alone = {"batch_size": 1, "target": 1, "attributes": {}, "strategies": {}}
        self._config = config.changed(
            dataset=config.dataset.model_copy(update={"constraints": (rule,)}),
            generate=config.generate.model_copy(update=alone),
            validators=(ValidatorConfig(name="constraints"),),
        )
        self._dataset = dataset
        self._check: Validator = load_validators(self._config, no_calls, dataset.fields)[0]
        self._prompts = ItemPrompts(self._config, dataset)
        self._client = client
        self._halt = halt
        self._result = result

    def batches(self, first: int, count: int) -> list[Batch]:
        generate, seed = self._config.generate, self._config.seed
        planner = Planner(generate, seed, selectors_of(generate, self._dataset, seed, None))
        return [planner.batch(number) for number in range(first, first + count)]

    async def ask(self, batch: Batch, place: asyncio.Semaphore) -> None:
        async with place:
            if self._halt.reason is not None:
                raise self._halt.reason
            try:
                completion = await self._client.ask(self._prompts.render(batch))
            except PermanentError:
                self._result.asked += 1
                return
            except (FatalError, StopRun) as reason:
                self._halt.set(reason)  # nobody else begins
                raise
        self._result.asked += 1
        for item in read_items(batch, completion, self._dataset.fields)[:1]:
            if item.settled:
                return
            self._result.read += 1
            strict = await self._keeps(item)
            self._result.strict += strict
            self._result.loose += strict or await self._keeps_loosely(item)

    async def _keeps(self, item: Item) -> bool:
        return (await self._check.validate(item)).decision is Decision.PASS

    async def _keeps_loosely(self, item: Item) -> bool:
        return any([await self._keeps(item.evolve(text=text)) for text in likenesses(item.text)])


def likenesses(text: str) -> list[str]:
    """The text without its first line, its last line, both; each with and without asterisks: IFEval's, but itself."""
    lines = text.split("\n")
    cuts = [lines[first : len(lines) - last] for first, last in product((0, 1), (0, 1))]
    texts = ["\n".join(cut).strip() for cut in cuts]
    plain = [each.replace("*", "") for each in texts]
    return [each for each in dict.fromkeys([*texts, *plain]) if each and each != text]


def following_tables(found: Following) -> list[Listing]:
    """A row for each rule, two columns for each model."""
    models = list(dict.fromkeys(each.model for each in found.results))
    by_rule: dict[str, dict[str, Followed]] = {}
    for each in found.results:
        by_rule.setdefault(each.rule, {})[each.model] = each
    heads = ["rule", *(f"{model}, {kind}" for model in models for kind in ("strict", "loose"))]
    rows = [
        [rule, *(_share(each.get(model), kind) for model in models for kind in ("strict", "loose"))]
        for rule, each in by_rule.items()
    ]
    said = "Each rule alone; of the replies that hold an item, with the 95 % interval."
    return [Listing("Which model keeps which constraint", said, heads, rows, 1, wide=True)]


def _share(found: Followed | None, kind: str) -> str:
    if found is None or not found.read:
        return "-"
    kept = getattr(found, kind)
    low, high = wilson(kept, found.read)
    return f"{kept / found.read:.2f} ({low:.2f} to {high:.2f})"
