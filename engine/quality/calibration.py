"""What the cases of a calibration say of the checks, alone and together; each figure with its 95 % interval.

Shares have Wilson's interval. Dollars for a catch or an accepted item are ratios of sums: theirs is a percentile
bootstrap over rows (Efron, 1979), since the cases of one row are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from engine.quality.intervals import wilson

NATURAL, CLEAN = "natural", "clean"
CONFIGURED = ""
"""The policy of a check that the config has."""
_RESAMPLES = 1_000
_MOST_POLICIES = 5_000
Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tried:
    """What one check, by one policy, made of a case: `right` is None where it was rejected, or nobody can tell."""

    rejected: bool
    reason: str
    right: bool | None
    label: str
    usd: float
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Tried:
        return cls(
            record["decision"] == "reject",
            str(record["reason"]),
            record["right"],
            str(record["label"]),
            float(record["usd"]),
            int(record.get("calls", 0)),
            *map(int, record.get("tokens", (0, 0))),
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One case: where its row stands, what kind it is, whether it came right, and what became of it."""

    row: int
    kind: str
    right: bool | None
    label: str
    checks: Mapping[str, Mapping[str, Tried]]
    accepted: bool
    """By the whole list of the config, as a run does."""
    rejected_by: str
    final: bool | None
    """Whether it is right in the end, where it was accepted."""
    usd: float
    """All of its calls, as the run would have made them."""

    @property
    def natural(self) -> bool:
        return self.kind == NATURAL

    @property
    def wrong(self) -> bool:
        return self.right is False


def share(count: int, of: int) -> Figure:
    """A share with its interval, and the counts that it is from."""
    low, high = wilson(count, of)
    return {"share": count / of if of else None, "low": low, "high": high, "count": count, "of": of}


# --- each check alone ------------------------------------------------------------------------------


def of_check(cases: Sequence[Case], name: str, policy: str) -> Figure:
    """What one check catches, what it lets stand, and what a catch costs.

    `sensitivity` is of the labels that the generator itself wrote wrong, `specificity` of all that is right; of planted
    defects there is a figure for each kind. Dollars are those of items as the generator writes them.
    """
    tried = [(case, case.checks[name][policy]) for case in cases if policy in case.checks.get(name, {})]
    wrong = [(case, each) for case, each in tried if case.wrong]
    as_run = [(case, each) for case, each in tried if case.natural]
    reasons: dict[str, int] = {}
    for _, each in tried:
        if each.rejected:
            reasons[each.reason] = reasons.get(each.reason, 0) + 1
    kinds = dict.fromkeys(case.kind for case, _ in wrong)
    return {
        "sensitivity": _caught([pair for pair in wrong if pair[0].natural]),
        "specificity": _kept([(case, each) for case, each in tried if case.right]),
        "kinds": {kind: _caught([pair for pair in wrong if pair[0].kind == kind]) for kind in kinds},
        "usd_per_item": sum(each.usd for _, each in as_run) / len(as_run) if as_run else None,
        "usd_per_catch": ratio([(c.row, each.usd, float(c.wrong and _catches(each))) for c, each in as_run]),
        "reasons": dict(sorted(reasons.items(), key=lambda pair: -pair[1])),
    }


def _catches(each: Tried) -> bool:
    """Whether a wrong item was rejected, or mended."""
    return each.rejected or each.right is True


def _caught(pairs: Sequence[tuple[Case, Tried]]) -> Figure:
    told = [each for _, each in pairs if each.rejected or each.right is not None]
    return {**share(sum(map(_catches, told)), len(told)), "open": len(pairs) - len(told)}


def _kept(pairs: Sequence[tuple[Case, Tried]]) -> Figure:
    told = [each for _, each in pairs if each.rejected or each.right is not None]
    return {**share(sum(each.right is True for each in told), len(told)), "open": len(pairs) - len(told)}


def confusion(cases: Sequence[Case], names: Sequence[str]) -> list[Figure]:
    """For each two checks: how many of the wrong items both catch, one alone, neither."""
    pairs = []
    for first, second in combinations(names, 2):
        counts = {"both": 0, "first": 0, "second": 0, "neither": 0}
        for case in cases:
            if not case.wrong or not {first, second} <= case.checks.keys():
                continue
            one, two = (_catches(case.checks[name][CONFIGURED]) for name in (first, second))
            counts["both" if one and two else "first" if one else "second" if two else "neither"] += 1
        pairs.append({"checks": [first, second], **counts})
    return pairs


def alone(cases: Sequence[Case], names: Sequence[str]) -> dict[str, int]:
    """How many wrong items each check catches that no other does."""
    counts = dict.fromkeys(names, 0)
    for case in cases:
        catching = [name for name in names if name in case.checks and _catches(case.checks[name][CONFIGURED])]
        if case.wrong and len(catching) == 1:
            counts[catching[0]] += 1
    return counts


# --- several together ------------------------------------------------------------------------------

Choice = tuple[tuple[str, str], ...]
"""A way to check: the names of checks, in order, each with its policy."""


def together(case: Case, choice: Choice) -> tuple[bool, bool | None, float]:
    """(accepted, right, dollars) of a case by these checks, from what each says of it as it came.

    In order, up to the first that rejects it. Where one replaces the label, a check that has confirmed the old one
    rejects it; that is what it would say of the new one, for their answers differ.
    """
    right, label, dollars = case.right, case.label, 0.0
    for name, policy in choice:
        tried = case.checks[name][policy]
        dollars += tried.usd
        if tried.rejected:
            return False, None, dollars
        if tried.label != case.label:
            if label not in (case.label, tried.label):
                return False, None, dollars
            right, label = tried.right, tried.label
        elif tried.right is None and case.right is not None:
            right = None
    confirmed = any(
        case.checks[name][policy].label == case.label for name, policy in choice if name in _CONFIRM
    )
    if label != case.label and confirmed:
        return False, None, dollars
    return True, right, dollars


_CONFIRM = ("code", "agree")
"""Checks that pass a label only where their own answer is the same."""


def measured(cases: Sequence[Case], choice: Choice, *, intervals: bool = False) -> Figure:
    """Precision, yield and dollars of these checks on the items that the generator labelled.

    `intervals`: that of the dollars, too, which takes some milliseconds.
    """
    outcomes = [(case, *together(case, choice)) for case in cases if case.natural]
    kept = [right for _, accepted, right, _ in outcomes if accepted]
    told = [right for right in kept if right is not None]
    return {
        "checks": dict(choice),
        "precision": share(sum(told), len(told)),
        "yield": share(len(kept), len(outcomes)),
        "usd_per_accepted": ratio(
            [(case.row, usd, float(accepted)) for case, accepted, _, usd in outcomes], intervals=intervals
        ),
    }


def choices(names: Sequence[str], policies: Mapping[str, Sequence[str]]) -> list[Choice]:
    """Every subset of the checks by every policy; where that is too many, those of the config in every subset."""
    ways = [[None, *policies[name]] for name in names]
    count = 1
    for each in ways:
        count *= len(each)
    if count > _MOST_POLICIES:
        ways = [[None, CONFIGURED] for _ in names]
    return [
        tuple((name, policy) for name, policy in zip(names, chosen, strict=True) if policy is not None)
        for chosen in product(*ways)
    ]


def frontier(found: Sequence[Figure]) -> list[Figure]:
    """Those of which none other is at least as precise and yields at least as much; the cheapest of equals."""
    known = [each for each in found if each["precision"]["of"]]
    known.sort(key=lambda each: (-_precision(each), -_yield(each), _dollars(each), len(each["checks"])))
    best, kept = -1.0, []
    for each in known:
        if _yield(each) > best:
            best = _yield(each)
            kept.append(each)
    return kept


def _precision(each: Figure) -> float:
    return float(each["precision"]["share"] or 0.0)


def _yield(each: Figure) -> float:
    return float(each["yield"]["share"] or 0.0)


def _dollars(each: Figure) -> float:
    return float(each["usd_per_accepted"]["value"] or 0.0)


def chosen(found: Sequence[Figure], precision: float | None, least_yield: float | None) -> Figure | None:
    """The one that yields the most of those that are so precise, or is the most precise of those that yield so much."""
    known = [each for each in found if each["precision"]["of"]]
    if precision is not None:
        fitting = [each for each in known if _precision(each) >= precision]
        return max(fitting, key=lambda each: (_yield(each), _precision(each), -_dollars(each)), default=None)
    if least_yield is not None:
        fitting = [each for each in known if _yield(each) >= least_yield]
        return max(fitting, key=lambda each: (_precision(each), _yield(each), -_dollars(each)), default=None)
    return None


def held_out(
    cases: Sequence[Case], wanted: Sequence[Choice], precision: float | None, least_yield: float | None
) -> Figure | None:
    """The precision of a choice on rows that it was not chosen by: chosen on each half, measured on the other.

    That of the chosen way on the rows that it was chosen by is too good: it is the best of many.
    """
    rows = sorted({case.row for case in cases})
    halves = [set(rows[0::2]), set(rows[1::2])]
    right = of = kept = whole = 0
    for this, other in (halves, halves[::-1]):
        seen, unseen = ([case for case in cases if case.row in half] for half in (this, other))
        best = chosen([measured(seen, choice) for choice in wanted], precision, least_yield)
        if best is None:
            return None
        figure = measured(unseen, tuple(best["checks"].items()))
        right, of = right + figure["precision"]["count"], of + figure["precision"]["of"]
        kept, whole = kept + figure["yield"]["count"], whole + figure["yield"]["of"]
    return {"precision": share(right, of), "yield": share(kept, whole)}


# --- the whole -------------------------------------------------------------------------------------


def calibration(
    cases: Sequence[Case],
    names: Sequence[str],
    *,
    precision: float | None = None,
    least_yield: float | None = None,
) -> Figure:
    """All figures, as calibration.json has them. `names`: the checks, in the order in which an item meets them."""
    natural = [case for case in cases if case.natural]
    told = [case for case in natural if case.right is not None]
    policies = {name: _policies(cases, name) for name in names}
    wanted = choices(names, policies) if natural else []
    found = [measured(cases, choice) for choice in wanted]
    return {
        "rows": len({case.row for case in cases}),
        "cases": {kind: sum(case.kind == kind for case in cases) for kind in _kinds(cases)},
        "raw": {**share(sum(bool(case.right) for case in told), len(told)), "open": len(natural) - len(told)},
        "accepted": _as_run(cases),
        "steps": _steps(natural, names),
        "checks": {
            name: {policy: of_check(cases, name, policy) for policy in policies[name]} for name in names
        },
        "alone": alone(cases, names),
        "pairs": confusion(cases, names),
        "frontier": [_whole(cases, each) for each in frontier(found)],
        **_choice(cases, wanted, found, precision, least_yield),
    }


def _choice(
    cases: Sequence[Case],
    wanted: Sequence[Choice],
    found: Sequence[Figure],
    precision: float | None,
    least_yield: float | None,
) -> Figure:
    if precision is None and least_yield is None:
        return {}
    best = chosen(found, precision, least_yield)
    unseen = held_out(cases, wanted, precision, least_yield) if best is not None else None
    return {
        "wanted": {"precision": precision, "yield": least_yield},
        "chosen": best and _whole(cases, best),
        "held_out": unseen,
    }


def _whole(cases: Sequence[Case], found: Figure) -> Figure:
    return measured(cases, tuple(found["checks"].items()), intervals=True)


def _as_run(cases: Sequence[Case]) -> Figure:
    """The config's own list, exactly as a run applies it."""
    natural, wrong = [case for case in cases if case.natural], [case for case in cases if case.wrong]
    kept = [case for case in natural if case.accepted]
    told = [case.final for case in kept if case.final is not None]
    kinds: dict[str, Figure] = {}
    for kind in dict.fromkeys(case.kind for case in wrong):
        of = [case for case in wrong if case.kind == kind and not (case.accepted and case.final is None)]
        kinds[kind] = share(sum(not case.accepted or case.final is True for case in of), len(of))
    return {
        "precision": {**share(sum(told), len(told)), "open": len(kept) - len(told)},
        "yield": share(len(kept), len(natural)),
        "kinds": kinds,
        "usd_per_item": sum(case.usd for case in natural) / len(natural) if natural else None,
        "usd_per_accepted": ratio([(case.row, case.usd, float(case.accepted)) for case in natural]),
    }


def _steps(natural: Sequence[Case], names: Sequence[str]) -> dict[str, Figure]:
    """What each check takes of an item that the generator writes, in the order of the config: for a plan.

    `reached`: the share of items that the checks before it let through.
    """
    steps: dict[str, Figure] = {}
    left = [case for case in natural if all(name in case.checks for name in names)]
    whole = max(1, len(left))
    for name in names:
        tried = [case.checks[name][CONFIGURED] for case in left]
        steps[name] = {
            "reached": len(tried) / whole,
            "passed": sum(not each.rejected for each in tried) / len(tried) if tried else None,
            "calls": sum(each.calls for each in tried) / whole,
            "prompt_tokens": sum(each.prompt_tokens for each in tried) / whole,
            "completion_tokens": sum(each.completion_tokens for each in tried) / whole,
            "usd": sum(each.usd for each in tried) / whole,
        }
        left = [case for case, each in zip(left, tried, strict=True) if not each.rejected]
    return steps


def _kinds(cases: Iterable[Case]) -> list[str]:
    return list(dict.fromkeys(case.kind for case in cases))


def _policies(cases: Iterable[Case], name: str) -> list[str]:
    return list(dict.fromkeys(policy for case in cases for policy in case.checks.get(name, {})))


# --- dollars ---------------------------------------------------------------------------------------


def ratio(parts: Sequence[tuple[int, float, float]], *, intervals: bool = True) -> Figure:
    """The sum of the first values over that of the second, by row, with its bootstrap interval; None of nothing."""
    above, below = sum(part[1] for part in parts), sum(part[2] for part in parts)
    if not below:
        return {"value": None, "low": None, "high": None}
    if not above:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    low, high = _bootstrapped(parts) if intervals else (None, None)
    return {"value": above / below, "low": low, "high": high}


def _bootstrapped(parts: Sequence[tuple[int, float, float]]) -> tuple[float | None, float | None]:
    import numpy as np

    rows: dict[int, list[float]] = {}
    for row, above, below in parts:
        sums = rows.setdefault(row, [0.0, 0.0])
        sums[0] += above
        sums[1] += below
    values = np.array(list(rows.values()))
    drawn = np.random.default_rng(0).multinomial(
        len(values), np.full(len(values), 1 / len(values)), _RESAMPLES
    )
    sums = drawn @ values
    ratios = sums[sums[:, 1] > 0]
    if len(ratios) < _RESAMPLES * 0.9:  # too few catches for an interval
        return None, None
    low, high = np.quantile(ratios[:, 0] / ratios[:, 1], [0.025, 0.975])
    return float(low), float(high)


def told(figure: Figure, digits: int = 2) -> str:
    """'0.91 (0.87 to 0.94)' of a share or a ratio; '-' of none."""
    value = figure.get("share", figure.get("value"))
    if value is None:
        return "-"
    if figure["low"] is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def named(checks: Mapping[str, str]) -> Iterator[str]:
    """'code (agree: 2)' for each check of a choice."""
    for name, policy in checks.items():
        yield f"{name} ({policy})" if policy else name
