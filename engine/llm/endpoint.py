"""One endpoint with all that decides whether it may be asked now, and what its answers teach about it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import NamedTuple

from engine.errors import CallTimeout, EngineError, FatalError, RateLimited, Unavailable
from engine.items import RateLimits
from engine.llm.breaker import Breaker
from engine.llm.concurrency import Concurrency
from engine.llm.coordination import InProcess
from engine.llm.latencies import Latencies
from engine.llm.pacing import Clock
from engine.llm.prices import FREE, Price
from engine.llm.rates import Taken, take_both
from engine.protocols import Backend, Coordinator, Rate

RAMP_S = 1.0
"""After a pause, how long it takes until as many calls may be in flight as before it."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
"""Where an endpoint asks for less and does not say for how long."""

FORGOTTEN_S = 1800.0
"""Two failures so far apart, with nobody asking between, are two troubles."""
KNOWN = 20
"""Calls for a purpose whose latencies make a timeout."""
LEAST_TIMEOUT_S = 15.0

Tell = Callable[[str, str, str], None]
"""Called with (endpoint, kind, sentence) on what a user should hear of."""


class EndpointStatistics(NamedTuple):
    """For people: what one endpoint is doing."""

    name: str
    in_flight: int
    limit: float
    answered: int
    state: str
    announced: RateLimits | None


class Endpoint:
    """Pure but for its clock: the Limiter asks `wait`, `take`, and tells it how each call ended.

    Mutable state: calls in flight, the pause and the ramp after it, why it is out for good, and its parts:
    the concurrency, the rates, the breaker, the latencies.
    """

    def __init__(
        self,
        backend: Backend,
        concurrency: Concurrency,
        *,
        price: Price = FREE.main,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        name: str | None = None,
        weight: float = 1.0,
        key: str = "",
        coordinator: Coordinator | None = None,
        clock: Clock = time.monotonic,
        tell: Tell = lambda *_: None,
    ) -> None:
        """`key` names it to the coordinator; `tell` hears of pauses, outages and limits."""
        self.backend = backend
        self.name = name or backend.name
        self.price = price
        self.weight = weight
        self.concurrency = concurrency
        self.in_flight = 0
        self.answered = 0
        self.breaker = Breaker()
        self.latencies: dict[str, Latencies] = {}
        self.recent = 0.0
        """A moving average of seconds a call, for comparison with other endpoints."""
        self.compared = 0
        """Calls in `recent`, since it was last taken out for being slow."""
        self.retired: FatalError | None = None
        """Why it is not asked again in this start."""
        self.last_failure = ""
        self.refusals = 0
        """Requests that it refused before it had ever answered one."""
        self.announced: RateLimits | None = None
        self.holds_longest = False
        """It takes a call's `max_tokens` for used as soon as the call comes; so must we."""
        self._key = key
        self._coordinator = coordinator or InProcess(clock)
        self._clock = clock
        self._tell = tell
        self._told = RateLimits(requests_per_minute, tokens_per_minute)
        self._requests = self._rate("requests", requests_per_minute)
        self._tokens = self._rate("tokens", tokens_per_minute)
        self._paused_until = 0.0
        self._pauses = 0
        self._too_slow = 0.0
        self._failing_since: float | None = None
        self._failed_last = 0.0
        self._ramp_from = 0.0
        self._ramping = False

    # --- before a call ---

    def wait(self, tokens: int) -> float | None:
        """Seconds until a call of so many tokens may go; None until another has ended."""
        if self.in_flight >= self.concurrency.limit and self.in_flight:
            return None
        wait = 0.0
        if self.breaker.opened is not None or self._ramping or self._paused_until:
            resting = self._resting(self._clock())
            if resting is None:
                return None
            wait = resting
        if self._requests is not None:
            wait = max(wait, self._requests.wait())
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait(tokens))
        return wait

    def _resting(self, now: float) -> float | None:
        """Of the pause, the breaker and the ramp."""
        if now < self._paused_until:
            return self._paused_until - now
        if self._paused_until:
            self._paused_until = 0.0
            self._begin_ramp(now)
        broken = self.breaker.wait(now)
        if broken is None or broken > 0:
            return broken
        if self.breaker.opened is not None:
            return 0.0
        if not self._ramping:
            return 0.0
        share = (now - self._ramp_from) / RAMP_S
        if share >= 1:
            self._ramping = False
            return 0.0
        room = 1 + share * self.concurrency.limit
        return 0.0 if self.in_flight < room else RAMP_S / max(1.0, self.concurrency.limit)

    def _begin_ramp(self, now: float) -> None:
        self._ramp_from, self._ramping = now, True

    def take(self, tokens: int) -> Taken | None:
        """A call of so many tokens goes now. What comes back is for `ended`; None where it may not go after all."""
        taken = take_both(self._requests, self._tokens, tokens)
        if taken is None:
            return None
        self.in_flight += 1
        if self.breaker.opened is not None:
            self.breaker.trying = True
        return taken

    def patience(self, purpose: str, most: float) -> float:
        """Seconds to wait for an answer: four times what 99 % of such calls took, once enough are known."""
        latencies = self.latencies.get(purpose)
        if latencies is None or latencies.count < KNOWN:
            return most
        return min(most, max(LEAST_TIMEOUT_S, 4 * latencies.p99))

    def lost_hope(self, now: float, patience: float, first: float) -> str:
        """Why it is no use to wait: down, or asked to wait, for longer than `patience`; '' where it is some.

        `first` is the patience with one that has never answered.
        """
        if self.retired is not None:
            return str(self.retired)
        failing = now - self._failing_since if self._failing_since is not None else 0.0
        if self.hope_left(now, patience, first) <= 0:
            return f"no answer from {self.name} for {failing:.0f} s: {self.last_failure}"
        if self._paused_until - now > patience:
            return f"{self.name} asks to wait {self._paused_until - now:.0f} s: {self.last_failure}"
        return ""

    def hope_left(self, now: float, patience: float, first: float) -> float:
        """Seconds until there is no hope any more, unless it answers."""
        if self._failing_since is None:
            return math.inf
        allowed = first if self.breaker.opened is not None and not self.answered else patience
        return allowed - (now - self._failing_since)

    # --- after a call ---

    def ended(self, taken: Taken, used: int | None) -> None:
        """The call is over. `used` corrects the tokens that were taken for it; None keeps them."""
        self.in_flight -= 1
        if used is not None and not (self.holds_longest and used):
            taken.give_back(1, used)

    def refused(self, sent: float, charged: bool) -> None:
        """It answered, though with nothing of use; where it charged for that, it has proved itself."""
        self.answered += charged
        self._failing_since = None
        self._back(sent, self._clock())

    def succeeded(self, purpose: str, seconds: float, sent: float) -> None:
        """Raises nothing. `seconds` is the attempt's own, `sent` when it was admitted."""
        self.answered += 1
        self._pauses = 0
        self._failing_since = None
        self.compared += 1
        self.recent += (seconds - self.recent) * (0.1 if self.compared > 10 else 1 / self.compared)
        latencies = self.latencies.get(purpose)
        if latencies is None:
            latencies = self.latencies[purpose] = Latencies()
        latencies.add(seconds)
        now = self._clock()
        self.concurrency.answered(purpose, seconds, self.in_flight, sent, now)
        if self._too_slow and seconds > self._too_slow and self.breaker.opened is not None:
            self.breaker.failed(sent, now)  # tried, and slow still
        else:
            self._back(sent, now)
        announced = getattr(self.backend, "announced", None)
        if announced is not self.announced:
            self._heed(announced)

    def _back(self, sent: float, now: float) -> None:
        if self.breaker.answered(sent):
            self._too_slow = 0.0
            self._begin_ramp(now)
            self._say("back", f"{self.name} answers again")

    def failed(self, error: EngineError, sent: float, purpose: str = "", seconds: float = 0.0) -> None:
        """How the endpoint stands after a failure of its own; a call's own mistakes are none."""
        now = self._clock()
        self.last_failure = str(error)
        if self._failing_since is None or now - self._failed_last > FORGOTTEN_S:
            self._failing_since = now
        self._failed_last = now
        if isinstance(error, CallTimeout) and seconds:
            # Who is cut off would have taken longer: without this the timeout could never grow again.
            self.latencies.setdefault(purpose, Latencies()).add(1.5 * seconds)
        overloaded = isinstance(error, RateLimited) or (isinstance(error, Unavailable) and error.overloaded)
        if overloaded:
            self._congested(error, sent, now)
        elif self.breaker.failed(sent, now):
            self._say("down", f"{self.name} is taken out after failures in a row: {error}")
        if overloaded and self.breaker.trying:
            self.breaker.failed(sent, now)
        announced = getattr(self.backend, "announced", None)
        if announced is not self.announced:
            self._heed(announced)

    def abandoned(self, sent: float) -> None:
        """A call was cancelled, or its own mistake ended it: that says nothing, but a try is over."""
        self.breaker.abandoned(sent)

    def retire(self, reason: FatalError) -> None:
        """Not asked again in this start."""
        if self.retired is None:
            self.retired = reason
            self._say("retired", f"{self.name} is not asked any more: {reason}")

    def rest(self, why: str, too_slow: float) -> None:
        """Taken out, until a try takes less than `too_slow` seconds."""
        if self.breaker.opened is None:
            self._too_slow = too_slow
            self.breaker.open(self._clock(), by_tries=True)
            self.compared = 0
            self._say("slow", f"{self.name} is taken out for a while: {why}")

    def _congested(self, error: EngineError, sent: float, now: float) -> None:
        """Less at once, and a pause of this endpoint alone: as long as it asks for, else longer each time."""
        asked = getattr(error, "retry_after", None)
        anew = self.concurrency.congested(sent, self.in_flight, now)
        if getattr(error, "tokens", False) and self._tokens is not None and not self.holds_longest:
            self.holds_longest = True
            self._say("limits", f"{self.name} counts a call's max_tokens against its limit; so is it paced")
        if asked is None and not anew:
            return
        own = min(FIRST_PAUSE_S * 2 ** min(self._pauses, 10), LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
        if asked is None:
            asked = own
        else:  # what it asks for, unless that has brought nothing before
            asked = max(asked + random.uniform(0, 0.05 * asked + 0.01), own if self._pauses > 2 else 0.0)
        self._pauses += anew
        self._paused_until = max(self._paused_until, now + asked)
        if anew:
            self._say("rate_limited", f"{self.name} asked for less: {error}")

    def _heed(self, announced: RateLimits | None) -> None:
        """Keep to what the endpoint says that it allows, where that is less than we were told."""
        self.announced = announced
        if announced is None:
            return
        told = self._told
        for kind, said, ours in (
            ("requests", announced.requests, told.requests),
            ("tokens", announced.tokens, told.tokens),
        ):
            if said is not None and (ours is None or said < ours):
                self._replace(kind, said)
                self._say("limits", f"{self.name} announces {said:,.0f} {kind} per minute; kept")
        self._told = RateLimits(
            _least(told.requests, announced.requests), _least(told.tokens, announced.tokens)
        )

    def _replace(self, kind: str, per_minute: float) -> None:
        if kind == "requests":
            self._requests = self._rate(kind, per_minute)
        else:
            self._tokens = self._rate(kind, per_minute)

    def _rate(self, kind: str, per_minute: float | None) -> Rate | None:
        return None if per_minute is None else self._coordinator.rate(self._key, kind, per_minute)

    def _say(self, kind: str, sentence: str) -> None:
        self._tell(self.name, kind, sentence)

    @property
    def troubled(self) -> bool:
        """Paused or taken out, for however long."""
        return self.breaker.opened is not None or self._paused_until > 0

    def statistics(self) -> EndpointStatistics:
        state = (
            "out" if self.retired is not None else "resting" if self.breaker.opened is not None else "asked"
        )
        if self._paused_until > self._clock():
            state = "paused"
        limit = self.concurrency.limit
        return EndpointStatistics(self.name, self.in_flight, limit, self.answered, state, self.announced)

    def __repr__(self) -> str:
        return f"<Endpoint {self.statistics()}>"


def _least(told: float | None, said: float | None) -> float | None:
    return said if told is None else told if said is None else min(told, said)
