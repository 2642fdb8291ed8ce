"""A calibration as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.quality.cases import CLEAN, NATURAL
from engine.quality.figures import told
from engine.quality.together import named
from engine.report.tables import Listing

_HEART = (
    "Where the model has seen this dataset in its training, it labels these rows better than new ones, and the share "
    "of right labels is too high."
)

_UNLABELLED = (
    "No row was labelled by the generator, as where items have no label: how often it is wrong is not known, only what "
    "the checks make of the rows themselves and of defects that were planted."
)


def calibration_tables(found: Mapping[str, Any]) -> Iterator[Listing]:
    """What is accepted; each check; who catches what; the ways to check that are worth choosing from."""
    yield _whole(found)
    yield _checks(found)
    yield _kinds(found)
    if found["pairs"]:
        yield _pairs(found)
    if found["frontier"]:
        yield _frontier(found)


def _whole(found: Mapping[str, Any]) -> Listing:
    raw, accepted = found["raw"], found["accepted"]
    precision = accepted["precision"]
    rows = [
        ["right labels, unchecked", told(raw), f"{raw['of']:,}"],
        ["right labels among the accepted", told(precision), f"{precision['of']:,}"],
        ["accepted", told(accepted["yield"]), f"{accepted['yield']['of']:,}"],
        ["dollars of checks for an accepted item", _dollars(accepted["usd_per_accepted"]), ""],
    ]
    rows += [
        [f"caught: {_kind(kind)}", told(figure), f"{figure['of']:,}"]
        for kind, figure in accepted["kinds"].items()
    ]
    left = raw["open"] + precision["open"]
    nobody = f" Of {left:,} nobody could tell whether they are right; they are left out." if left else ""
    about = _by_heart(found) if raw["of"] or left else _UNLABELLED
    said = f"From {found['rows']:,} rows with known labels. In brackets: 95 %.{nobody} {about}"
    return Listing("What is accepted, as configured", said, ("", "share", "of"), rows)


def _by_heart(found: Mapping[str, Any]) -> str:
    """What it does to the figures if the model knows the dataset, and what was done about it."""
    if (changed := found.get("rewritten")) is None:
        return f"{_HEART} --rewritten tries the rows in other names and numbers."
    return (
        f"{changed['numbers']:,} rows were tried with other names and numbers, their labels worked out anew, and "
        f"{changed['names']:,} with other names alone; the others, and what a model knows of these, as they are."
    )


def _checks(found: Mapping[str, Any]) -> Listing:
    heads = ("check", "catches wrong", "of", "keeps right", "of", "caught by it alone", "dollars an item",
             "dollars a catch")  # fmt: skip
    rows = []
    for name, policies in found["checks"].items():
        for policy, each in policies.items():
            rows.append(
                [
                    next(named({name: policy})),
                    told(each["sensitivity"]),
                    f"{each['sensitivity']['of']:,}",
                    told(each["specificity"]),
                    f"{each['specificity']['of']:,}",
                    f"{found['alone'][name]:,}" if not policy else "",
                    "-" if each["usd_per_item"] is None else f"${each['usd_per_item']:.6f}",
                    _dollars(each["usd_per_catch"]),
                ]
            )
    kinds = ", ".join(f"{count:,} {_of_kind(kind)}" for kind, count in found["cases"].items())
    said = (
        f"Each by itself. Cases: {kinds}. Wrong are labels that the generator itself wrote wrong. In brackets behind a "
        "name: other options than the config's."
    )
    return Listing("Each check alone", said, heads, rows, 1, wide=True)


def _kinds(found: Mapping[str, Any]) -> Listing:
    names = list(found["checks"])
    kinds = list(dict.fromkeys(kind for name in names for kind in found["checks"][name][""]["kinds"]))
    rows = []
    for kind in kinds:
        figures = [found["checks"][name][""]["kinds"].get(kind) for name in names]
        rows.append([_kind(kind), *(told(figure) if figure else "-" for figure in figures)])
    said = "What each check, as configured, catches of each kind of defect; most were planted."
    return Listing("Kinds of defects", said, ("", *names), rows, 1, wide=True)


def _pairs(found: Mapping[str, Any]) -> Listing:
    heads = ("first", "second", "both", "first alone", "second alone", "neither")
    rows = [
        [*each["checks"], *(f"{each[name]:,}" for name in ("both", "first", "second", "neither"))]
        for each in found["pairs"]
    ]
    return Listing("Who catches what nobody else does", "Wrong items, by each two checks.", heads, rows, 2)


def _frontier(found: Mapping[str, Any]) -> Listing:
    heads = ("checks", "right among the accepted", "accepted", "dollars of checks for 1,000 accepted")
    best = found.get("chosen")
    rows = [
        [
            ", ".join(named(each["checks"])) or "none",
            told(each["precision"]),
            told(each["yield"]),
            _dollars(each["usd_per_accepted"], 1_000),
        ]
        for each in found["frontier"]
    ]
    said = (
        "No other choice of checks is at least as precise and accepts as much, by labels alone, and on the items that "
        "it was chosen by."
    )
    if "wanted" in found:
        wanted = found["wanted"]
        wish = f"precision {wanted['precision']:g}" if wanted["precision"] else f"yield {wanted['yield']:g}"
        if best is None:
            said += f" None reaches the {wish} that is wanted."
        else:
            said += f" For {wish}: {', '.join(named(best['checks'])) or 'no check'}"
            unseen = found["held_out"]
            said += (
                f"; on rows that it was not chosen by: {told(unseen['precision'])} right." if unseen else "."
            )
    return Listing("Ways to check", said, heads, rows, 1, wide=True)


def _kind(kind: str) -> str:
    return "wrong by itself" if kind == NATURAL else kind.replace("_", " ")


def _of_kind(kind: str) -> str:
    called = {NATURAL: "labelled by the generator", CLEAN: "as in the dataset"}
    return called.get(kind) or f"planted: {kind.replace('_', ' ')}"


def _dollars(figure: Mapping[str, Any], times: int = 1) -> str:
    if figure["value"] is None:
        return "-"
    digits = 6 if times == 1 else 2
    value, low, high = (
        None if figure[name] is None else f"${figure[name] * times:,.{digits}f}"
        for name in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})" if low is not None else str(value)
