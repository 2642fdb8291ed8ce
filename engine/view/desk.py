"""Which item a person is to look at next: queues over the index, as the page's address says them."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from engine.view.filters import Filter, number_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from engine.view.index import Found

WAYS = {"decide": "decide: accept, reject, edit", "judge": "judge: is it right? No fate changes"}
QUEUES = {
    "random": "in random order",
    "doubtful": "most doubtful first",
    "filter": "in the order of the list",
}
_MOST_POINTS = 9
"""A digit gives them."""


@dataclass(frozen=True)
class Desk:
    """How somebody reviews: what the address says besides the filter."""

    way: str = "decide"
    queue: str = "random"
    who: str = ""
    blind: str = ""
    """`1`: fates and verdicts are not shown."""
    seed: int = 0
    after: str = ""
    """The id of the item before, in the order of the queue."""
    at: str = ""
    """The id of the item to show, out of order."""
    criterion: tuple[str, ...] = ()
    """NAME or NAME=MOST each: points to give when judging."""

    @classmethod
    def read(cls, given: Iterable[tuple[str, str]], way: str = "decide") -> Self:
        """From a query string's pairs; what is not sound counts as absent. `way` holds where none is given."""
        found: dict[str, Any] = {"criterion": ()}
        for name, value in given:
            if name == "criterion" and value.strip():
                found[name] = (*found[name], value[:80])
            elif name == "seed":
                found[name] = int(value) if value.isdecimal() and len(value) < 10 else 0
            elif name in ("way", "queue", "who", "blind", "after", "at"):
                found[name] = value[:80]
        if found.get("way") not in WAYS:
            found["way"] = way
        if found.get("queue") not in QUEUES:
            found["queue"] = "random"
        found["who"] = found.get("who", "").strip() or user()
        return cls(**found)

    @property
    def criteria(self) -> Mapping[str, int]:
        """The most points by criterion; one point is the least."""
        points = {}
        for each in self.criterion:
            name, _, most = each.partition("=")
            points[name.strip()] = int(most) if most.isdecimal() and 2 <= int(most[:3]) <= _MOST_POINTS else 5
        return points

    def address(self, filter_: Filter, **changes: Any) -> str:
        """The query string with changes."""
        changed = replace(self, **changes)
        own = {"way": changed.way, "queue": changed.queue, "who": changed.who, "blind": changed.blind,
               "seed": changed.seed or "", "after": changed.after, "at": changed.at}  # fmt: skip
        pairs = [(name, str(value)) for name, value in own.items() if value != ""]
        pairs += [("criterion", each) for each in changed.criterion]
        return (
            f"?{urlencode([*pairs, *(pair for pair in filter_.pairs() if pair[0] not in ('page', 'cols'))])}"
        )


def user() -> str:
    """The name of whoever runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"


@dataclass(frozen=True)
class Next:
    """The item that comes next, and how many are left; None at the end of the round."""

    item: int | None
    left: int


def next_to_decide(found: Found, desk: Desk, filter_: Filter, waiting: Set[int]) -> Next:
    """Of the items that the filter lets through, the next that nobody has decided on. `waiting` are decided as well."""
    import numpy as np

    columns, places = found.columns, found.places
    if not filter_.review:
        places = places[columns["review"][places] == 0]
    if waiting:
        places = places[~np.isin(columns["item"][places], np.fromiter(waiting, np.int64))]
    if not len(places):
        return Next(None, 0)
    first, second = _keys(columns, places, desk, filter_)
    left = len(places)
    number = number_of(desk.after)
    there = int(np.searchsorted(columns["item"], number)) if number is not None else len(columns["item"])
    if there < len(columns["item"]) and columns["item"][there] == number:
        [at], [tie] = _keys(columns, np.array([there]), desk, filter_)
        later = (first > at) | ((first == at) & (second > tie))
        places, first, second = places[later], first[later], second[later]
    if not len(places):
        return Next(None, left)
    least = np.flatnonzero(first == first.min())
    return Next(int(columns["item"][places[least[second[least].argmin()]]]), left)


def _keys(
    columns: Mapping[str, npt.NDArray[Any]], places: npt.NDArray[Any], desk: Desk, filter_: Filter
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What the items are ordered by, and what decides among equals."""
    import numpy as np

    items = columns["item"][places]
    if desk.queue == "filter":
        name, sign = filter_.sort.removeprefix("-"), -1.0 if filter_.sort.startswith("-") else 1.0
        return sign * columns["item" if name == "plan" else name][places].astype(np.float64), items
    shuffled = _mixed(items, desk.seed)
    if desk.queue == "doubtful":
        return -columns["doubt"][places].astype(np.float64), shuffled
    return np.zeros(len(places)), shuffled


def _mixed(items: npt.NDArray[Any], seed: int) -> npt.NDArray[Any]:
    """A number for each item that looks like chance, and is always the same (splitmix64 of Steele et al., 2014)."""
    import numpy as np

    with np.errstate(over="ignore"):
        value = items.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[Any] = value ^ (value >> np.uint64(31))
    return mixed


def next_to_judge(order: Sequence[int], judged: Set[int], after: str) -> Next:
    """The next of a sample that this person has not judged."""
    left = [number for number in order if number not in judged]
    begin = number_of(after)
    place = {number: at for at, number in enumerate(order)}.get(begin, -1) if begin is not None else -1
    return Next(next((number for number in order[place + 1 :] if number not in judged), None), len(left))
