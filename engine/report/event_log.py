"""The events of a start besides its items, in words: limits found, pauses, outages, endpoints taken out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.report.formatting import duration

MOST = 200
"""Most different events that are kept for one start; usually there are about a dozen."""
NEWS_S = 20.0
"""Seconds for which a display shows what happened last."""
_OUT = ("down", "slow")


@dataclass
class Event:
    """An event of one kind at one endpoint; repetitions are counted. Mutable."""

    kind: str
    endpoint: str
    first: float
    """Seconds since the epoch, as is `last`."""
    last: float
    said: str
    times: int = 1
    seconds: float = 0.0
    """Total time that the endpoint was out."""
    still: bool = False
    """Whether the endpoint is out at the time of this report."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "endpoint": self.endpoint,
            "first": _iso(self.first),
            "last": _iso(self.last),
            "times": self.times,
            "seconds": round(self.seconds, 1),
            "words": self.words,
        }

    @property
    def words(self) -> str:
        """A sentence for people."""
        often = "" if self.times == 1 else f" ({self.times} times, last at {_clock(self.last)})"
        long = f", for {duration(self.seconds)} in all" if self.seconds >= 1 else ""
        long += " and not back yet" if self.still else ""
        return f"{_clock(self.first)}: {self.said}{long}{often}"


Listener = Callable[[str, Mapping[str, Any]], None]


class EventLog:
    """Mutable state: the events of this start, the endpoints that are out, and the listeners."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._events: dict[tuple[str, str], Event] = {}
        self._out: dict[str, float] = {}
        self._last = (0.0, "")
        self.listeners: list[Listener] = []

    def record(self, endpoint: str, kind: str, sentence: str) -> None:
        """Records something that a user should know."""
        now = self._clock()
        self._last = now, sentence
        for listener in self.listeners:
            listener(kind, {"endpoint": endpoint, "words": sentence})
        if kind == "back":
            self._back(endpoint, now)
            return
        if kind in _OUT:
            self._out.setdefault(endpoint, now)
        known = self._events.get((kind, endpoint))
        if known is not None:
            known.times, known.last, known.said = known.times + 1, now, sentence
        elif len(self._events) < MOST:
            self._events[kind, endpoint] = Event(kind, endpoint, now, now, sentence)

    def news(self) -> str:
        """The last sentence, while it is news."""
        at, sentence = self._last
        return f"{_clock(at)}: {sentence}" if sentence and self._clock() - at < NEWS_S else ""

    def _back(self, endpoint: str, now: float) -> None:
        gone = now - self._out.pop(endpoint, now)
        for kind in _OUT:
            if (event := self._events.get((kind, endpoint))) is not None and gone:
                event.seconds, event.last = event.seconds + max(0.0, gone), now
                return

    def as_list(self) -> list[dict[str, Any]]:
        """Events in the order in which they began; an endpoint that is still out counts as out until now."""
        now = self._clock()
        events = []
        for (kind, endpoint), each in sorted(self._events.items(), key=lambda pair: pair[1].first):
            if kind in _OUT and (since := self._out.get(endpoint)) is not None:
                each = replace(each, seconds=each.seconds + max(0.0, now - since), still=True)
            events.append(each.as_dict())
        return events


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))
