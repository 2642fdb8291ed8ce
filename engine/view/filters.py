"""What a page of items shows, as its address says it: a filter, an order, a page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import urlencode

from engine.items import POSITIONS

ON_A_PAGE = 50
SORTS = {
    "plan": "as planned",
    "-plan": "latest first",
    "cost": "cheapest first",
    "-cost": "dearest first",
    "chars": "shortest first",
    "-chars": "longest first",
    "-doubt": "most doubtful first",
}


@dataclass(frozen=True)
class Filter:
    """Items that fulfil all of it; what is empty lets everything through."""

    q: str = ""
    """Words that occur."""
    state: str = ""
    by: str = ""
    """What rejected them."""
    reason: str = ""
    label: str | None = None
    strategy: str = ""
    model: str = ""
    verdict: tuple[str, ...] = ()
    """VALIDATOR:DECISION, any number of them."""
    attr: tuple[str, ...] = ()
    """NAME=VALUE, any number of them."""
    batch: str = ""
    """One number, or FIRST-LAST."""
    review: str = ""
    """accept, reject, note: what people said; `none`: nobody has."""
    revised: str = ""
    """`yes` or `no`."""
    items: str = ""
    """Ids, joined by commas."""
    area: str = ""
    """A polygon on the map, as x,y,x,y,..."""
    cost_min: str = ""
    cost_max: str = ""
    cols: str = ""
    """Columns that are shown beside the text, joined by commas."""
    sort: str = "plan"
    page: int = 1

    @classmethod
    def read(cls, given: Iterable[tuple[str, str]]) -> Self:
        """From a query string's pairs; what is not known is left out, what is not sound counts as empty."""
        found: dict[str, Any] = {}
        for name, value in given:
            if name in ("verdict", "attr"):
                if value:
                    found[name] = (*found.get(name, ()), value)
            elif name == "page":
                found[name] = max(1, int(value)) if value.isdecimal() and len(value) < 9 else 1
            elif name == "label" or (name in _NAMES and value):
                found[name] = value
        if found.get("sort") not in SORTS:
            found.pop("sort", None)
        return cls(**found)

    def pairs(self) -> list[tuple[str, str]]:
        """As pairs of a query string, without what is as usual."""
        pairs: list[tuple[str, str]] = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default or (value == () and isinstance(value, tuple)):
                continue
            pairs += (
                [(each.name, one) for one in value] if isinstance(value, tuple) else [(each.name, str(value))]
            )
        return pairs

    def address(self, **changes: Any) -> str:
        """The query string with changes; another filter begins at its first page."""
        changed = replace(self, **({"page": 1} | changes))
        pairs = changed.pairs()
        return f"?{urlencode(pairs)}" if pairs else "?"

    def with_value(self, name: str, value: str) -> str:
        """The query string once this value of a facet is chosen, or no longer, where it was."""
        if name in ("verdict", "attr"):
            there: tuple[str, ...] = getattr(self, name)
            rest = tuple(each for each in there if each != value)
            return self.address(**{name: rest if value in there else (*there, value)})
        chosen = getattr(self, name) == value
        return self.address(**{name: (None if name == "label" else "") if chosen else value})

    def has(self, name: str, value: str) -> bool:
        there = getattr(self, name)
        return value in there if isinstance(there, tuple) else there == value

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return replace(self, sort="plan", page=1, cols="") != Filter()

    def batches(self) -> tuple[int, int] | None:
        """The first batch and the one behind the last; None where all."""
        first, _, last = self.batch.partition("-")
        if not first.isdecimal() or len(first) > 12 or (last and (not last.isdecimal() or len(last) > 12)):
            return None
        return int(first), int(last or first) + 1

    def numbers(self) -> list[int] | None:
        """The numbers of the selected items; None where all."""
        if not self.items:
            return None
        return [number for each in self.items.split(",") if (number := number_of(each)) is not None]

    def costs(self) -> tuple[float | None, float | None]:
        """The least and the most dollars of an item."""
        return _dollars(self.cost_min), _dollars(self.cost_max)


_NAMES = frozenset(each.name for each in fields(Filter))


def number_of(shown: str) -> int | None:
    """An item's number from its id, such as 12-0; None for anything else."""
    batch, dash, position = shown.partition("-")
    sound = dash and batch.isdecimal() and position.isdecimal() and len(batch) <= 12 and len(position) <= 5
    return int(batch) * POSITIONS + int(position) if sound and int(position) < POSITIONS else None


def _dollars(said: str) -> float | None:
    try:
        value = float(said)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


@dataclass(frozen=True)
class Value:
    """One value of a facet: how many of the shown items have it, and where choosing it leads."""

    value: str
    count: int
    address: str
    chosen: bool


@dataclass(frozen=True)
class Facet:
    """A property of items with its most frequent values."""

    name: str
    title: str
    values: list[Value] = field(default_factory=list)
    more: int = 0
    """Values that are not listed."""


def facets_of(
    counted: Mapping[str, tuple[str, Mapping[str, int]]], filter_: Filter, most: int = 12
) -> list[Facet]:
    """Facets by name: (title, counts by value). A facet with one value that is not chosen tells nothing."""
    shown = []
    for name, (title, counts) in counted.items():
        key = name.partition(":")[0]
        given = name.partition(":")[2]
        values = [
            Value(
                value,
                count,
                filter_.with_value(key, _said(key, given, value)),
                filter_.has(key, _said(key, given, value)),
            )
            for value, count in sorted(counts.items(), key=lambda pair: -pair[1])
        ]
        if len(values) > 1 or any(each.chosen for each in values):
            kept = [each for place, each in enumerate(values) if place < most or each.chosen]
            shown.append(Facet(name, title, kept, len(values) - len(kept)))
    return shown


def _said(key: str, given: str, value: str) -> str:
    """A value as the address names it: with its validator, or its attribute."""
    return {"verdict": f"{given}:{value}", "attr": f"{given}={value}"}.get(key, value)
