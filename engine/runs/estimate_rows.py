"""Estimates what new columns for the rows of a dataset take, before any money is spent."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from engine.errors import ConfigError
from engine.items import PICO
from engine.prompts.rows import Step as RowStep
from engine.prompts.rows import digest
from engine.protocols import Expected, Foreseeing
from engine.runs.estimate import (
    CHARACTERS_PER_TOKEN,
    DIFFERENT,
    GENERATED,
    ItemTokens,
    Plan,
    Range,
    Step,
    asked_of,
    owners,
    plan_of,
    spread_of,
    step_of,
    whole_plan,
)
from engine.runs.finished_rows import readable_rows
from engine.runs.inputs import Inputs
from engine.runs.plugins import load_validators, no_calls
from engine.store.folder import RunFolder
from engine.store.reading import connect, read_tallies

_LOOKED_AT = 5_000
"""Rows by which the length of prompts, and the share of rows that are repeats, is told."""
_FEWEST = 20


@dataclass(frozen=True)
class _Look:
    """What the first rows show."""

    share: float
    """Of rows of which something is asked that no row before them has asked."""
    characters: Sequence[float]
    """Of a prompt, by step."""


def plan_for(inputs: Inputs, folder: RunFolder | None = None) -> Plan:
    """What a run takes, whatever kind it is."""
    return plan_of_rows(inputs, folder) if inputs.row_prompts is not None else plan_of(inputs, folder)


def plan_of_rows(inputs: Inputs, folder: RunFolder | None) -> Plan:
    """From an earlier start of the same run, where there is one, or from the rows and what the checks state."""
    if folder is not None and (earlier := _earlier(inputs, folder)) is not None:
        return earlier
    prompts = inputs.row_prompts
    assert prompts is not None
    spec, look = prompts.spec, _look(inputs)
    rows = inputs.target / spec.most_items
    asked = rows * look.share
    validators = load_validators(inputs.config, no_calls, inputs.dataset.fields, shelf=inputs.shelf)
    kept, each = GENERATED, list[tuple[str, Range, Sequence[Expected]]]()
    for validator in validators:
        expected, passed = (
            validator.foresees() if isinstance(validator, Foreseeing) else ((), (0.3, 0.8, 1.0))
        )
        each.append((validator.name, kept, expected))
        kept = kept.times(Range(*passed))
    if inputs.config.groupcheck is not None:
        kept = kept.times(DIFFERENT)
    samples = Range.of(spec.samples)
    if spec.keep == "first":
        samples = Range(1, min(spec.samples, 1 / kept.likely), spec.samples)
    if spec.on_reject == "retry":
        samples = samples.times(Range(1, 1 + min(1 - kept.likely, 0.5), 1 + spec.retries))
    calls = Range.of(asked).times(samples)
    steps = []
    for step, characters in zip(prompts.steps, look.characters, strict=True):
        prompt = Range.of(characters / CHARACTERS_PER_TOKEN, 0.15)
        steps.append(step_of(inputs, step.purpose, [step.purpose], calls, prompt, _answer(step)))
    own = sum(look.characters) / len(look.characters) / CHARACTERS_PER_TOKEN
    item = ItemTokens(own, own, 0)
    for name, reached, expected in each:
        seen = calls.times(reached).times(Range.of(spec.fan_out))
        steps += [asked_of(inputs, name, one, seen, item) for one in expected]
    if spec.keep in ("best", "pair") and spec.by == "judge":
        judged = Range.of(own + spec.samples * _answer(prompts.steps[-1]).likely, 0.3)
        answer = Range.of(30 * spec.samples, 0.5)
        steps.append(step_of(inputs, "candidates", ["candidates"], Range.of(2 * asked), judged, answer))
    notes = (
        [f"{1 - look.share:.0%} of the rows ask what others have asked: they cost nothing"]
        if look.share < 1
        else []
    )
    said = (
        "stated beforehand, not measured: the answers' length is a guess; a start of the run makes it closer"
    )
    return whole_plan(inputs, "stated", said, kept, Range.of(rows * spec.most_items), steps, notes)


def _answer(step: RowStep) -> Range:
    """Tokens of an answer."""
    likely = step.likely_tokens
    return Range(likely / 3, likely, max(likely, min(4 * likely, step.spec.max_tokens)))


def _look(inputs: Inputs) -> _Look:
    prompts = inputs.row_prompts
    assert prompts is not None
    names, count, characters = set[str](), 0, [0.0] * len(prompts.steps)
    for row in islice(readable_rows(inputs), _LOOKED_AT):
        filled, count = dict(row), count + 1
        for place, step in enumerate(prompts.steps):
            with contextlib.suppress(ConfigError):
                texts = step.rendered(filled, prompts.examples_shown(step, ""))
                characters[place] += sum(map(len, texts))
                if place == 0:
                    names.add(digest(*texts))
            filled |= dict.fromkeys(step.columns, "x" * 160)
    count = max(1, count)
    share = len(names) / count if prompts.spec.reuse else 1.0
    return _Look(min(1.0, share), [each / count for each in characters])


def _earlier(inputs: Inputs, folder: RunFolder) -> Plan | None:
    """By what the rows so far have taken; None where too few are decided."""
    prompts = inputs.row_prompts
    assert prompts is not None
    if not folder.database.is_file() or folder.mode() != "map":
        return None
    with contextlib.closing(connect(folder.database)) as connection:
        tallies = read_tallies(connection)
        [(rows,)] = connection.execute("SELECT count(DISTINCT item >> 16) FROM items").fetchall()
        if rows < _FEWEST:
            return None
        found = owners(connection)
    decided = tallies.accepted + tallies.rejected
    share = max(tallies.accepted / decided, 1e-3)
    left, spread = max(0.0, inputs.target / prompts.spec.most_items - rows), spread_of(rows)
    steps = []
    for owner, purposes, *taken, cost in found:
        calls, asked, told, dollars = (Range.of(left * each / rows, spread) for each in (*taken, cost / PICO))
        priced = dollars if inputs.prices is not None else None
        steps.append(Step(owner, purposes, calls, asked, told, priced))
    said = f"from what {rows:,} rows of this run have taken so far"
    items = Range.of(left * prompts.spec.most_items)
    return whole_plan(inputs, "earlier start", said, Range.of(share), items, steps, [], left=round(left))
