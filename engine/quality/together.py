"""What several checks do together, by what each says of a case alone; which choice of them is worth choosing.

That is exact but where one check changes an item: what the others say of the item as it came then stands for what they
would say of it afterwards. The config's own list is measured as a run applies it, in `calibration`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product

from engine.quality.cases import CONFIGURED, Case
from engine.quality.figures import Figure, ratio, share

_MOST_POLICIES = 5_000
Choice = tuple[tuple[str, str], ...]
"""A way to check: the names of checks, in order, each with its policy."""


def together(case: Case, choice: Choice, confirming: Collection[str] = ()) -> tuple[bool, bool | None, float]:
    """(accepted, right, dollars) of a case by these checks, from what each says of it as it came.

    In order, up to the first that rejects it. Where one replaces the label, a check of `confirming`, which passes a
    label only where its own answer is the same, has confirmed the old one and so rejects the new one.
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
        case.checks[name][policy].label == case.label for name, policy in choice if name in confirming
    )
    if label != case.label and confirmed:
        return False, None, dollars
    return True, right, dollars


def measured(
    cases: Sequence[Case], choice: Choice, confirming: Collection[str] = (), *, intervals: bool = False
) -> Figure:
    """Precision, yield and dollars of these checks on the items that the generator labelled.

    `intervals`: that of the dollars, too, which takes some milliseconds.
    """
    outcomes = [(case, *together(case, choice, confirming)) for case in cases if case.natural]
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
    cases: Sequence[Case],
    wanted: Sequence[Choice],
    confirming: Collection[str],
    precision: float | None,
    least_yield: float | None,
) -> Figure | None:
    """The precision of a choice on rows that it was not chosen by: chosen on each half, measured on the other.

    That of the chosen way on the rows that it was chosen by is too good: it is the best of many.
    """
    rows = sorted({case.row for case in cases})
    halves = [set(rows[0::2]), set(rows[1::2])]
    right = of = kept = whole = 0
    for this, other in (halves, halves[::-1]):
        seen, unseen = ([case for case in cases if case.row in half] for half in (this, other))
        best = chosen([measured(seen, choice, confirming) for choice in wanted], precision, least_yield)
        if best is None:
            return None
        figure = measured(unseen, tuple(best["checks"].items()), confirming)
        right, of = right + figure["precision"]["count"], of + figure["precision"]["of"]
        kept, whole = kept + figure["yield"]["count"], whole + figure["yield"]["of"]
    return {"precision": share(right, of), "yield": share(kept, whole)}


def named(checks: Mapping[str, str]) -> Iterator[str]:
    """'code (agree: 2)' for each check of a choice."""
    for name, policy in checks.items():
        yield f"{name} ({policy})" if policy else name
