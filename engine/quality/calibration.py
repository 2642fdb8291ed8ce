"""What the cases of a calibration say of the checks, alone and together; each figure with its interval."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations

from engine.quality.cases import CONFIGURED, Case, Tried
from engine.quality.figures import Figure, ratio, share
from engine.quality.together import choices, chosen, frontier, held_out, measured

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


# --- the whole -------------------------------------------------------------------------------------


def calibration(
    cases: Sequence[Case],
    names: Sequence[str],
    *,
    confirming: Collection[str] = (),
    precision: float | None = None,
    least_yield: float | None = None,
) -> Figure:
    """All figures, as calibration.json has them. `names`: the checks, in the order in which an item meets them.

    `confirming`: those that pass a label only where their own answer is the same.
    """
    natural = [case for case in cases if case.natural]
    told = [case for case in natural if case.right is not None]
    policies = {name: _policies(cases, name) for name in names}
    wanted = choices(names, policies) if natural else []
    found = [measured(cases, choice, confirming) for choice in wanted]

    def whole(best: Figure) -> Figure:
        return measured(cases, tuple(best["checks"].items()), confirming, intervals=True)

    figures = {
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
        "frontier": [whole(each) for each in frontier(found)],
    }
    if precision is None and least_yield is None:
        return figures
    best = chosen(found, precision, least_yield)
    unseen = held_out(cases, wanted, confirming, precision, least_yield) if best is not None else None
    wish = {"precision": precision, "yield": least_yield}
    return {**figures, "wanted": wish, "chosen": best and whole(best), "held_out": unseen}


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
    """The check's policies; the config's own is there even where no case has been tried."""
    return list(
        dict.fromkeys([CONFIGURED, *(policy for case in cases for policy in case.checks.get(name, {}))])
    )
