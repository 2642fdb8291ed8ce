"""One endpoint with all that decides whether it may be asked now, and what its answers teach about it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.errors import CallTimeout, EngineError, FatalError, RateLimited, Unavailable
from engine.items import NO_LIMITS, RateLimits
from engine.llm.breaker import Breaker
from engine.llm.choose import Candidate, Speed
from engine.llm.concurrency import Concurrency
from engine.llm.coordination import InProcess
from engine.llm.latencies import Latencies
from engine.llm.outage import Outage
from engine.llm.pacing import Clock
from engine.llm.pause import Pause
from engine.llm.prices import FREE, Price
from engine.llm.rates import Rates, Taken
from engine.protocols import Backend, Coordinator

KNOWN = 20
"""Calls of one route whose latencies make a timeout."""
LEAST_TIMEOUT_S = 15.0
_SMOOTHING = 0.1
"""What the newest call weighs in the moving average of seconds a call."""

RecordEvent = Callable[[str, str, str], None]
"""Called with (endpoint, kind, sentence) on what a user should know of: limits, pauses, outages."""


class EndpointStatistics(NamedTuple):
    """For people: what one endpoint is doing."""

    name: str
    in_flight: int
    limit: float
    answered: int
    state: str
    announced: RateLimits | None


@dataclass(frozen=True)
class EndpointSpec:
    """What is known of an endpoint before it is asked."""

    name: str = ""
    """The backend's where absent."""
    price: Price = FREE.main
    weight: float = 1.0
    key: str = ""
    """Names it to the coordinator."""
    limits: RateLimits = NO_LIMITS
    """As the user told them."""
    patience: float = 3600.0
    """Seconds that it may be down once it has answered."""
    first_patience: float = 30.0
    """Seconds that it may be down before it has ever answered."""


class Endpoint:
    """Pure but for its clock: the Limiter asks for a `candidate`, admits, and each call's end is told by its Lease.

    Mutable state: calls in flight and answered, why it is out for good, how quick it is, and its parts.
    """

    def __init__(
        self,
        backend: Backend,
        concurrency: Concurrency,
        spec: EndpointSpec | None = None,
        *,
        coordinator: Coordinator | None = None,
        clock: Clock = time.monotonic,
        chance: random.Random | None = None,
        record: RecordEvent = lambda *_: None,
    ) -> None:
        """`chance` is for jitter; `record` is called with what a user should know of."""
        spec = spec or EndpointSpec()
        chance = chance or random.Random()
        self.backend = backend
        self.name = spec.name or backend.name
        self.price = spec.price
        self.concurrency = concurrency
        self.breaker = Breaker(chance)
        self.latencies: dict[str, Latencies] = {}
        """By route."""
        self.rates = Rates(coordinator or InProcess(clock), spec.key, spec.limits)
        self.in_flight = 0
        self.answered = 0
        self.refusals = 0
        """Requests that it refused before it had ever answered one."""
        self.retired: FatalError | None = None
        """Why it is not asked again in this start."""
        self._weight = spec.weight
        self._clock = clock
        self._record = record
        self._pause = Pause(chance)
        self._outage = Outage(spec.patience, spec.first_patience)
        self._seconds = 0.0
        self._compared = 0
        self._slower_than = 0.0
        """While it is out for being slow: a try that takes longer does not bring it back."""

    # --- before a call ---

    def candidate(self, tokens: int, now: float, avoided: object = None) -> Candidate:
        """How it stands for a call of so many tokens, which would rather not go to `avoided`."""
        load = math.inf if avoided is self else (self.in_flight + 1) / self._weight
        return Candidate(self._wait(tokens, now), load, self._hope(now))

    def _wait(self, tokens: int, now: float) -> float | None:
        """Seconds until a call of so many tokens may go; None until another has ended."""
        if self.in_flight >= self.concurrency.limit and self.in_flight:
            return None
        broken = self.breaker.wait(now)
        if broken is None:
            return None
        paused = self._pause.wait(now, self.in_flight, self.concurrency.limit)
        return max(paused, broken, self.rates.wait(tokens))

    def _hope(self, now: float) -> float:
        """Seconds until it is given up, unless it answers; while a try is under way, there is hope."""
        if self.retired is not None:
            return 0.0
        open_ = self.breaker.opened is not None
        if (not open_ and not self._pause.active(now)) or self.breaker.trying:
            return math.inf
        if self._pause.until - now > self._outage.patience:
            return 0.0
        return self._outage.hope(now, proven=self.answered > 0 or not open_)

    def given_up(self, now: float) -> str:
        """Why it is given up; '' where it is not."""
        if self.retired is not None:
            return str(self.retired)
        if self._hope(now) > 0:
            return ""
        if self._pause.until - now > self._outage.patience:
            return f"{self.name} asks to wait {self._pause.until - now:.0f} s: {self._outage.said}"
        return f"no answer from {self.name} for {self._outage.lasted(now):.0f} s: {self._outage.said}"

    def admit(self, tokens: int) -> Taken | None:
        """A call of so many tokens goes now. What comes back is for `ended`; None where it may not go after all."""
        taken = self.rates.take(tokens)
        if taken is None:
            return None
        self.in_flight += 1
        if self.breaker.opened is not None:
            self.breaker.trying = True
        return taken

    def patience(self, route: str, most: float) -> float:
        """Seconds to wait for an answer: four times what 99 % of such calls took, once enough are known."""
        latencies = self.latencies.get(route)
        if latencies is None or latencies.count < KNOWN:
            return most
        return min(most, max(LEAST_TIMEOUT_S, 4 * latencies.p99))

    # --- after a call ---

    def ended(self, taken: Taken, used: int | None) -> None:
        """The call is over. `used` corrects the tokens that were taken for it; None keeps them."""
        self.in_flight -= 1
        self.rates.ended(taken, used)

    def succeeded(self, route: str, seconds: float, sent: float) -> None:
        """`seconds` is the attempt's own, `sent` when it was admitted."""
        now = self._clock()
        self.answered += 1
        self._pause.answered()
        self._outage.over()
        self._compared += 1
        self._seconds += (seconds - self._seconds) * max(_SMOOTHING, 1 / self._compared)
        self._latencies(route).add(seconds)
        self.concurrency.answered(route, seconds, self.in_flight, sent, now)
        if self._slower_than and seconds > self._slower_than and self.breaker.opened is not None:
            self.breaker.failed(sent, now)  # tried, and slow still
        else:
            self._back(sent, now)
        self._heed()

    def refused(self, sent: float, charged: bool) -> None:
        """It answered, though with nothing of use; where it charged for that, it has proved itself."""
        self.answered += charged
        self._outage.over()
        self._back(sent, self._clock())

    def failed(self, error: EngineError, sent: float, route: str = "", seconds: float = 0.0) -> None:
        """A failure of its own; a call's own mistakes are none."""
        now = self._clock()
        self._outage.failed(now, str(error))
        if isinstance(error, CallTimeout) and seconds:
            # The answer would have taken longer than the timeout: without this the timeout could never grow again.
            self._latencies(route).add(1.5 * seconds)
        overloaded = isinstance(error, RateLimited) or (isinstance(error, Unavailable) and error.overloaded)
        if overloaded:
            self._congested(error, sent, now)
        elif self.breaker.failed(sent, now):
            self._event("down", f"{self.name} is taken out after failures in a row: {error}")
        if overloaded and self.breaker.trying:
            self.breaker.failed(sent, now)
        self._heed()

    def abandoned(self, sent: float) -> None:
        """A call was cancelled, or its own mistake ended it: that says nothing, but a try is over."""
        self.breaker.abandoned(sent)

    def retire(self, reason: FatalError) -> None:
        """Not asked again in this start."""
        if self.retired is None:
            self.retired = reason
            self._event("retired", f"{self.name} is not asked any more: {reason}")

    def rest(self, why: str, slower_than: float) -> None:
        """Taken out, until a try takes no more than `slower_than` seconds."""
        if self.breaker.opened is None:
            self._slower_than = slower_than
            self.breaker.open(self._clock(), by_tries=True)
            self._compared = 0
            self._event("slow", f"{self.name} is taken out for a while: {why}")

    def speed(self) -> Speed:
        """For a comparison with others that do the same work."""
        asked = self.retired is None and self.breaker.opened is None and not self._pause.active(self._clock())
        return Speed(self._seconds, self._compared, asked)

    def _back(self, sent: float, now: float) -> None:
        if self.breaker.answered(sent):
            self._slower_than = 0.0
            self._pause.ramp(now)
            self._event("back", f"{self.name} answers again")

    def _congested(self, error: EngineError, sent: float, now: float) -> None:
        """Less at once, and a pause of this endpoint alone."""
        anew = self.concurrency.congested(sent, self.in_flight, now)
        if (
            getattr(error, "tokens", False)
            and self.rates.limits_tokens
            and not self.rates.charges_max_tokens_upfront
        ):
            self.rates.charges_max_tokens_upfront = True
            self._event("limits", f"{self.name} counts a call's max_tokens against its limit; so is it paced")
        self._pause.begin(now, getattr(error, "retry_after", None), anew=anew)
        if anew:
            self._event("rate_limited", f"{self.name} asked for less: {error}")

    def _heed(self) -> None:
        """Keep to the limits that the endpoint announces, where these are new."""
        announced = getattr(self.backend, "announced", None)
        if announced is self.rates.announced:
            return
        for kind, limit in self.rates.heed(announced):
            self._event("limits", f"{self.name} announces {limit:,.0f} {kind} per minute; kept")

    def _latencies(self, route: str) -> Latencies:
        found = self.latencies.get(route)
        if found is None:
            found = self.latencies[route] = Latencies()
        return found

    def _event(self, kind: str, sentence: str) -> None:
        self._record(self.name, kind, sentence)

    # --- for people ---

    def statistics(self) -> EndpointStatistics:
        out, resting = self.retired is not None, self.breaker.opened is not None
        state = "out" if out else "resting" if resting else "asked"
        if self._pause.active(self._clock()):
            state = "paused"
        limit, announced = self.concurrency.limit, self.rates.announced
        return EndpointStatistics(self.name, self.in_flight, limit, self.answered, state, announced)

    def __repr__(self) -> str:
        return f"<Endpoint {self.statistics()}>"
