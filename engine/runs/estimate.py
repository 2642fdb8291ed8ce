"""Estimates a run's calls, tokens, dollars and time before any money is spent, and says what the figures rest on.

From the best there is: an earlier start of the same run in its folder, a calibration, or what the validators state
beforehand. Every figure is a range: at least, likely, at most.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import NamedTuple

import orjson

from engine.config.run import ASSUMED_CONCURRENCY
from engine.files.rows import BadRow
from engine.items import PICO, Batch, Prompt
from engine.planning.attributes import Cells
from engine.planning.extract import IN_ONE_CALL
from engine.planning.guidance import attributes_of, selectors_of
from engine.planning.plan import Planner, interleaved, shares
from engine.planning.strategies import Mix
from engine.protocols import Expected, Foreseeing, Validator
from engine.quality.intervals import wilson
from engine.runs.inputs import Inputs
from engine.runs.plugins import load_validators, no_calls
from engine.stages.schedule import EARLY, next_time
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_tallies

CHARACTERS_PER_TOKEN = 4.0
"""English text, roughly; a run learns the real figure from the replies."""
TOKENS_PER_ITEM = 80
"""Completion tokens of one item if there is no base dataset to measure."""
TOKENS_PER_SECOND = 60.0
SECONDS_TO_FIRST_TOKEN = 0.6
"""The assumed speed of one call."""
_SAMPLES = 50
_FEWEST = 20
"""Decided items of an earlier start from which it says more than a calibration."""


class Range(NamedTuple):
    """At least, likely, at most."""

    low: float
    likely: float
    high: float

    def times(self, other: Range) -> Range:
        """The product of two figures that are uncertain for reasons of their own: both are seldom at their ends.

        Their distances combine like those of independent errors, in quadrature of their logarithms.
        """
        likely = self.likely * other.likely
        if not likely:
            return Range(0.0, likely, self.high * other.high)
        up = math.hypot(math.log(self.high / self.likely), math.log(other.high / other.likely))
        if not self.low or not other.low:
            return Range(0.0, likely, likely * math.exp(up))
        down = math.hypot(math.log(self.likely / self.low), math.log(other.likely / other.low))
        return Range(likely * math.exp(-down), likely, likely * math.exp(up))

    def plus(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def inverse(self) -> Range:
        """One over it."""
        return Range(1 / self.high, 1 / self.likely, 1 / self.low)

    @classmethod
    def of(cls, value: float, spread: float = 0.0) -> Range:
        """Around a value, so much of it to either side."""
        return cls(value * (1 - spread), value, value * (1 + spread))


ZERO = Range(0, 0, 0)
GENERATED = Range(0.85, 0.97, 1.0)
"""Stated: of the items asked for, those that come and can be read."""
DIFFERENT = Range(0.6, 0.92, 1.0)
"""Stated: of the items that a group check sees, those that are not near-duplicates."""
_ANSWERS = 0.5
"""Stated: how far the length of an answer may be from what is likely, either way."""


@dataclass(frozen=True)
class Step:
    """What one step of the run takes in all: `purposes` as on the wire."""

    name: str
    purposes: str
    calls: Range = ZERO
    prompt_tokens: Range = ZERO
    completion_tokens: Range = ZERO
    dollars: Range | None = ZERO


@dataclass(frozen=True)
class Plan:
    """What a run is expected to take, and on what that rests."""

    source: str
    """'stated', 'calibration' or 'earlier start'."""
    said: str
    acceptance: Range
    """The share of the items asked for that are accepted."""
    items: Range
    """Items to be asked for."""
    steps: Sequence[Step]
    seconds: Range
    left: int
    """Accepted items still wanted."""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def calls(self) -> Range:
        return summed(step.calls for step in self.steps)

    @property
    def dollars(self) -> Range | None:
        """None where the price of a model is not known."""
        known = [step.dollars for step in self.steps if step.dollars is not None]
        return summed(known) if len(known) == len(self.steps) else None


def summed(ranges: Iterator[Range] | Sequence[Range]) -> Range:
    whole = ZERO
    for each in ranges:
        whole = whole.plus(each)
    return whole


def prompts(inputs: Inputs) -> Iterator[Prompt]:
    """The prompts of the run in order, without the parts that depend on what is accepted.

    Examples that the run selects by vectors are chosen at random here, and attributes that it extracts with a
    model are left out: both cost time or money.
    """
    if inputs.row_prompts is not None:
        yield from prompts_of_rows(inputs)
        return
    config = inputs.config
    selectors = selectors_of(config.generate, inputs.dataset, config.seed, None)
    planner = Planner(config.generate, config.seed, selectors, turns=inputs.turns)
    attributes = attributes_of(config.generate, inputs.dataset, {})
    mix = Mix(config.generate, config.seed, Cells(attributes, config.seed) if attributes else None, None)
    ratio = config.dataset.ratio
    if ratio is None:
        for number in count():
            if planner.ends_before(number):
                return
            yield inputs.prompts.render(planner.batch(number, choice=mix.choose(number)))
    else:
        asks = interleaved(shares(inputs.target, ratio.weights))
        for number in range(math.ceil(inputs.target / config.generate.batch_size)):
            asked = list(islice(asks, config.generate.batch_size))
            labels = tuple((label, asked.count(label)) for label in ratio.weights if label in asked)
            yield inputs.prompts.render(planner.batch(number, labels, mix.choose(number)))


def prompts_of_rows(inputs: Inputs) -> Iterator[Prompt]:
    """What is asked first for each row, where new columns are asked for."""
    asked = inputs.row_prompts
    assert asked is not None
    stem = "" if asked.spec.reuse else "0"
    for number, (place, row) in enumerate(inputs.dataset.numbered()):
        if not isinstance(row, BadRow):
            yield asked.prompt(Batch(number, 1, 0, 0.0, rows=(place,)), asked.steps[0], row, 0, stem)


def plan_of(inputs: Inputs, folder: RunFolder | None = None) -> Plan:
    """The plan from the best source there is. `folder`: the run's own, where it may have begun."""
    if folder is not None and (earlier := _earlier(inputs, folder)) is not None:
        return earlier
    if inputs.calibrated is None:
        return _stated(inputs)
    if not inputs.calibrated.acceptance["of"]:
        note = "the calibration says nothing of new items: the generator could label none of its rows"
        return replace(_stated(inputs), notes=[note])
    return _by_calibration(inputs)


# --- what new items take ---------------------------------------------------------------------------


class ItemTokens(NamedTuple):
    """Tokens of an item on the wire, and of one call for new ones."""

    tokens: float
    prompt: float
    completion: float


def _item(inputs: Inputs) -> ItemTokens:
    dataset, size = inputs.dataset, inputs.config.generate.batch_size
    lengths = [len(prompt.system) + len(prompt.user) for prompt in islice(prompts(inputs), _SAMPLES)]
    shown = [orjson.dumps(dataset.fields.wire(example), default=str) for example in dataset.examples[:500]]
    each = sum(map(len, shown)) / len(shown) / CHARACTERS_PER_TOKEN if shown else TOKENS_PER_ITEM
    return ItemTokens(each, sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN, each * size + 8)


def _generation(inputs: Inputs, items: Range, item: ItemTokens) -> Step:
    size = inputs.config.generate.batch_size
    calls = Range(*(each / size for each in items))
    return step_of(
        inputs, "items", ["items"], calls, Range.of(item.prompt, 0.15), Range.of(item.completion, 0.25)
    )


def step_of(
    inputs: Inputs, name: str, routes: Sequence[str], calls: Range, prompt: Range, completion: Range
) -> Step:
    """A step by its calls, and the tokens of one; of several models, the mean of their prices."""
    dollars: Range | None = None
    if inputs.prices is not None:
        prices = [inputs.prices.for_route(route) for route in routes]
        each = Range(
            *(
                sum(price.cost(round(asked), round(said)) for price in prices) / len(prices) / PICO
                for asked, said in zip(prompt, completion, strict=True)
            )
        )
        dollars = calls.times(each)
    purposes = ", ".join(dict.fromkeys(route.partition("@")[0] for route in routes))
    return Step(name, purposes, calls, calls.times(prompt), calls.times(completion), dollars)


def _before_the_first_batch(inputs: Inputs, item: ItemTokens) -> Iterator[Step]:
    """Keywords of the base dataset, where attributes are taken from it."""
    shown = [
        min(each.extract, inputs.dataset.rows)
        for each in inputs.config.generate.attributes.values()
        if each.extract
    ]
    if shown:
        calls = Range.of(sum(math.ceil(count / IN_ONE_CALL) for count in shown)).times(Range(1, 1, 2))
        prompt = Range.of(IN_ONE_CALL * item.tokens + 150, 0.3)
        yield step_of(inputs, "attributes", ["attributes"], calls, prompt, Range.of(15 * IN_ONE_CALL, 0.5))


# --- stated beforehand -----------------------------------------------------------------------------


def _stated(inputs: Inputs) -> Plan:
    item, kept = _item(inputs), GENERATED
    each: list[tuple[Validator, Range, Sequence[Expected]]] = []
    validators = load_validators(inputs.config, no_calls, inputs.dataset.fields, shelf=inputs.shelf)
    unknown = []
    for validator in validators:
        asked, passed = validator.foresees() if isinstance(validator, Foreseeing) else ((), (0.3, 0.8, 1.0))
        if not isinstance(validator, Foreseeing):
            unknown.append(validator.name)
        each.append((validator, kept, asked))
        kept = kept.times(Range(*passed))
    if inputs.config.groupcheck is not None:
        kept = kept.times(DIFFERENT)
    items = Range.of(inputs.target).times(kept.inverse())
    steps = [*_before_the_first_batch(inputs, item), _generation(inputs, items, item)]
    for validator, reached, asked in each:
        # How many get so far does not depend on what becomes of them later.
        seen = Range(items.low * reached.high, items.likely * reached.likely, items.high * reached.low)
        steps += [
            asked_of(inputs, validator.name, expected, Range(*sorted(seen)), item) for expected in asked
        ]
    notes = [f"{name} does not say what it asks for: its calls are not counted" for name in unknown]
    said = "stated beforehand, not measured: `datagen calibrate`, or a start of the run, makes it closer"
    return whole_plan(inputs, "stated", said, kept, items, steps, notes)


def asked_of(inputs: Inputs, name: str, expected: Expected, seen: Range, item: ItemTokens) -> Step:
    question = expected.question
    template = getattr(question.template, "characters", 0) / CHARACTERS_PER_TOKEN
    form = len(orjson.dumps(question.schema)) / CHARACTERS_PER_TOKEN / 4
    prompt = template + form + item.tokens + expected.beside
    routes = [f"{question.purpose}@{model}" for model in inputs.config.models_for(question.purpose)]
    calls = seen.times(Range(*expected.calls))
    answer = Range(expected.answer * _ANSWERS / 2, expected.answer, expected.answer / _ANSWERS)
    return step_of(inputs, name, routes or [question.purpose], calls, Range.of(prompt, 0.25), answer)


# --- from a calibration ----------------------------------------------------------------------------


def _by_calibration(inputs: Inputs) -> Plan:
    assert inputs.calibrated is not None
    data, item = inputs.calibrated.data, _item(inputs)
    accepted = data["accepted"]["yield"]
    kept = Range(max(accepted["low"], 1e-3), max(accepted["share"] or 0.0, 2e-3), max(accepted["high"], 3e-3))
    kept = kept.times(Range(0.9, _labelled(data), 1.0))
    if inputs.config.groupcheck is not None:
        kept = kept.times(DIFFERENT)
    items = Range.of(inputs.target).times(kept.inverse())
    steps = [*_before_the_first_batch(inputs, item), _generation(inputs, items, item)]
    spread, readable = spread_of(data["raw"]["of"]), items.times(Range.of(_labelled(data)))
    for name, figure in data["steps"].items():
        if not figure["calls"]:
            continue
        parts = {
            part: readable.times(Range.of(figure[part], spread))
            for part in ("calls", "prompt_tokens", "completion_tokens", "usd")
        }
        dollars = parts.pop("usd") if inputs.prices is not None else None
        steps.append(Step(name, "", **parts, dollars=dollars))
    once_more = (data["accepted"]["usd_per_item"] or 0.0) - sum(
        each["usd"] for each in data["steps"].values()
    )
    if once_more > 0 and inputs.prices is not None:
        steps.append(Step("checked once more", "", dollars=readable.times(Range.of(once_more, 2 * spread))))
    notes = [
        f"the calibration is of other checks: {each}" for each in inputs.calibrated.differences(inputs.config)
    ]
    return whole_plan(
        inputs, "calibration", f"from a calibration with {data['rows']:,} rows", kept, items, steps, notes
    )


def _labelled(data: Mapping[str, object]) -> float:
    """Of the items asked for, those that can be read, by how many rows could be labelled; never quite all."""
    cases = data["cases"]
    assert isinstance(cases, dict)
    rows = data["rows"]
    assert isinstance(rows, int)
    return min(0.99, (cases.get("natural", 0) + 1) / (rows + 2)) if cases.get("natural") else GENERATED.likely


def spread_of(of: int) -> float:
    """How far a mean of so many may be from the truth, for costs whose spread is about their size."""
    return min(0.9, max(0.05, 1.6 / math.sqrt(max(1, of))))


# --- from an earlier start -------------------------------------------------------------------------


def _earlier(inputs: Inputs, folder: RunFolder) -> Plan | None:
    """By what the items of the run so far have taken; None where too few are decided."""
    if not folder.database.is_file() or folder.mode() != "run":
        return None
    with contextlib.closing(connect(folder.database)) as connection:
        tallies = read_tallies(connection)
        decided = tallies.accepted + tallies.rejected + tallies.surplus
        if tallies.accepted + tallies.rejected < _FEWEST or not tallies.accepted:
            return None
        rows = owners(connection)
    low, high = wilson(tallies.accepted, tallies.accepted + tallies.rejected)
    share = tallies.accepted / (tallies.accepted + tallies.rejected)
    # Near-duplicates become more as there are more items to be like.
    kept = Range(low * (0.85 if inputs.config.groupcheck is not None else 1.0), share, high)
    left = max(0, inputs.target - tallies.accepted)
    items, spread = Range.of(left).times(kept.inverse()), spread_of(decided)
    steps = []
    for owner, purposes, calls, asked, told, cost in rows:
        per_item = [
            items.times(Range.of(each / decided, spread)) for each in (calls, asked, told, cost / PICO)
        ]
        name = "items" if owner == "generate" else owner
        dollars = per_item[3] if inputs.prices is not None else None
        steps.append(Step(name, purposes, per_item[0], per_item[1], per_item[2], dollars))
    said = f"from what {decided:,} items of this run have taken so far"
    return whole_plan(inputs, "earlier start", said, kept, items, steps, [], left=left)


def owners(connection: sqlite3.Connection) -> list[tuple[str, str, int, int, int, int]]:
    """(owner, purposes, calls, prompt tokens, completion tokens, cost) of all that items have asked for."""
    return connection.execute(
        "SELECT owner, group_concat(DISTINCT purpose), count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost) "
        "FROM calls WHERE owner NOT IN ('attributes', 'lessons', '') GROUP BY owner ORDER BY min(rowid)"
    ).fetchall()


# --- the whole -------------------------------------------------------------------------------------


def whole_plan(
    inputs: Inputs,
    source: str,
    said: str,
    kept: Range,
    items: Range,
    steps: Sequence[Step],
    notes: Sequence[str],
    *,
    left: int | None = None,
) -> Plan:
    plan = Plan(source, said, kept, items, steps, ZERO, inputs.target if left is None else left, notes)
    seconds = Range(*(_seconds(inputs, plan, place) for place in range(3)))
    return Plan(source, said, kept, items, steps, seconds, plan.left, notes)


def _seconds(inputs: Inputs, plan: Plan, place: int) -> float:
    limits = inputs.config.limits
    calls = plan.calls[place]
    asked = sum(step.prompt_tokens[place] for step in plan.steps)
    told = sum(step.completion_tokens[place] for step in plan.steps)
    latency = SECONDS_TO_FIRST_TOKEN + told / max(1.0, calls) / TOKENS_PER_SECOND
    seconds = [calls * latency / (limits.concurrency or ASSUMED_CONCURRENCY), latency]
    if limits.requests_per_minute is not None:
        seconds.append(calls / limits.requests_per_minute * 60)
    if limits.tokens_per_minute is not None:
        seconds.append((asked + told) / limits.tokens_per_minute * 60)
    if limits.finish_by is not None:
        now = time.time()
        seconds.append(EARLY * (next_time(limits.finish_by, now) - now))
    return max(seconds)
