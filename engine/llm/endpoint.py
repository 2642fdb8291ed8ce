"""One endpoint: what decides whether it can accept a call now, and what its answers show about it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import CallTimeout, EndpointError, EngineError, FatalError, RateLimited, Unavailable
from engine.items import NO_LIMITS, RateLimits, Usage
from engine.llm.allowance import Allowance
from engine.llm.breaker import Breaker
from engine.llm.charges import WILD_TIMES
from engine.llm.choose import Candidate, Speed
from engine.llm.concurrency import Concurrency
from engine.llm.coordination import InProcess
from engine.llm.latencies import Latencies
from engine.llm.outage import Outage
from engine.llm.pacing import Clock
from engine.llm.pause import Pause
from engine.llm.prices import FREE, Price
from engine.llm.probes import Probes
from engine.llm.rates import Rates, Taken
from engine.protocols import Backend, Coordinator, Streaming

KNOWN = 20
"""Calls of one route that are needed to derive a timeout or a hedge from their latencies."""
LEAST_TIMEOUT_S = 15.0
SILENT_S = 10.0
"""Seconds without any answer that are told of."""
_LONGEST_TIMEOUT_S = 1_800.0
_STRAGGLERS = 0.05
"""Timeouts for each answer that say nothing about the endpoint."""
_SMOOTHING = 0.1
"""Weight of the newest call in the moving average of seconds per call."""

RecordEvent = Callable[[str, str, str], None]
"""Called with (endpoint, kind, sentence) for events that users should know: limits, pauses, outages."""


class EndpointStatistics(NamedTuple):
    """The state of one endpoint, for display."""

    name: str
    in_flight: int
    limit: float
    answered: int
    state: str
    announced: RateLimits | None


@dataclass(frozen=True)
class EndpointSpec:
    """What is known about an endpoint before its first call."""

    name: str = ""
    """The backend's name where absent."""
    price: Price = FREE.main
    weight: float = 1.0
    key: str = ""
    """Its name for the coordinator."""
    limits: RateLimits = NO_LIMITS
    """As configured."""
    patience: float = 3600.0
    """Seconds that it may be down once it has answered."""
    first_patience: float = 30.0
    """Seconds that it may be down before it has ever answered."""
    reasoning: int | None = None
    """Tokens allowed for reasoning, as configured."""
    keeps_reasoning: bool = False
    """Whether what the model thought is kept with its answer."""
    charges_failures: bool = False
    """Whether an attempt that it answers with a failure of its own (5xx) may be on the bill."""
    least_timeout: float = 0.0
    """Seconds that an attempt may take in any case: the flex tier is slow."""


class Endpoint:
    """The Limiter reads its `candidate` and admits calls; each Lease reports the end. Pure but for its clock.

    Mutable state: calls in flight and answered, why it is retired, how fast it is, and its parts.
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
        """`chance` is for jitter; `record` is called with the events that users should know."""
        spec = spec or EndpointSpec()
        chance = chance or random.Random()
        self.backend = backend
        self.name = spec.name or backend.name
        self.price = spec.price
        self.concurrency = concurrency
        self.breaker = Breaker(chance)
        self.latencies: dict[str, Latencies] = {}
        """By route."""
        self.probes = Probes(backend)
        self.allowance = Allowance(spec.reasoning)
        self._least_timeout = spec.least_timeout
        self._said: set[str] = set()
        self._timeouts = 0
        self.streaming: Streaming | None = None
        """The backend, once its answers are streamed, so that only silence is timed out."""
        self.keeps_reasoning = spec.keeps_reasoning
        self.charges_failures = spec.charges_failures
        self.rates = Rates(coordinator or InProcess(clock), spec.key, spec.limits)
        self.in_flight = 0
        self.answered = 0
        self.refusals = 0
        """Requests that it refused before its first answer."""
        self.retired: FatalError | None = None
        """Why it gets no more calls in this start."""
        self._weight = spec.weight
        self._clock = clock
        self._record = record
        self._pause = Pause(chance)
        self._outage = Outage(spec.patience, spec.first_patience)
        self._heard = clock()
        self._is_silent = False
        self._wild = 0
        self.overlong = 1.0
        """How many times as long as the limit that was sent an answer has been."""
        self._seconds = 0.0
        self._compared = 0
        self._slower_than = 0.0
        """While it is out because it is slow: seconds above which a trial call does not bring it back."""

    # --- before a call ---

    def candidate(self, tokens: int, now: float, avoided: object = None) -> Candidate:
        """Its state for a call of `tokens` tokens that prefers endpoints other than `avoided`."""
        load = math.inf if avoided is self else (self.in_flight + 1) / self._weight
        return Candidate(self._wait(tokens, now), load, self._hope(now))

    @property
    def is_full(self) -> bool:
        """Whether one of its calls must end before another may be sent."""
        return self.in_flight >= self.concurrency.limit and self.in_flight > 0

    def _wait(self, tokens: int, now: float) -> float | None:
        """Seconds until a call of `tokens` tokens may be sent; None until another call ends."""
        if self.is_full:
            return None
        broken = self.breaker.wait(now)
        if broken is None:
            return None
        paused = self._pause.wait(now, self.in_flight, self.concurrency.limit)
        return max(paused, broken, self.rates.wait(tokens))

    def _hope(self, now: float) -> float:
        """Seconds until it is given up, unless it answers; infinite while a trial call is under way."""
        if self.retired is not None:
            return 0.0
        open_ = self.breaker.opened is not None
        if (not open_ and not self._pause.active(now)) or self.breaker.trying:
            return math.inf
        if self._pause.until - now > self._outage.patience:
            return 0.0
        return self._outage.hope(now, proven=self.answered > 0 or not open_)

    def given_up(self, now: float) -> str:
        """Why it is given up; '' if it is not."""
        if self.retired is not None:
            return str(self.retired)
        if self._hope(now) > 0:
            return ""
        if self._pause.until - now > self._outage.patience:
            return f"{self.name} asks to wait {self._pause.until - now:.0f} s: {self._outage.said}"
        return f"no answer from {self.name} for {self._outage.lasted(now):.0f} s: {self._outage.said}"

    def admit(self, tokens: int) -> Taken | None:
        """Admits a call of `tokens` tokens. Returns the argument for `ended`; None if the call may not go."""
        taken = self.rates.take(tokens)
        if taken is None:
            return None
        self.in_flight += 1
        if self.in_flight == 1:
            self._heard = self._clock()
        if self.breaker.opened is not None:
            self.breaker.trying = True
        return taken

    def patience(self, route: str, most: float) -> float:
        """Seconds to wait for an answer: four times the 99th percentile, once enough are known."""
        latencies, most = self.latencies.get(route), max(most, self._least_timeout)
        if latencies is None or latencies.count < KNOWN:
            return most
        return min(most, max(LEAST_TIMEOUT_S, 4 * latencies.p99))

    # --- during calls ---

    def heard(self) -> None:
        """Records a sign of life: an answer, a refusal, a piece of a stream."""
        self._heard = self._clock()
        self._is_silent = False

    def check_silence(self) -> None:
        """Tells once of a silence that is long for this endpoint while calls wait for it."""
        silent, usual = self._clock() - self._heard, 4 * self._seconds
        if self.in_flight and not self._is_silent and silent >= max(SILENT_S, usual):
            self._is_silent = True
            waits = "1 call waits" if self.in_flight == 1 else f"{self.in_flight} calls wait"
            self._event("silent", f"{self.name}: no answer for {silent:.0f} s; {waits}")

    def queued(self, waiting: int) -> None:
        """Records how many calls wait at the server, as it says itself."""
        if self.concurrency.queued(waiting, self.in_flight, self._clock()):
            fewer = f"{self.concurrency.limit:.0f} at once from now on"
            self._event("queue", f"{self.name} lets {waiting} calls wait; {fewer}")

    # --- after a call ---

    def ended(self, taken: Taken, used: int | None) -> None:
        """Records the end of a call. `used` corrects the tokens that were taken for it; None keeps them."""
        self.in_flight -= 1
        self.heard()
        self.rates.ended(taken, used)

    def unsent(self, taken: Taken, sent: float) -> None:
        """Records that a call was not sent after all: it takes no part of the rates."""
        self.in_flight -= 1
        self.breaker.abandoned(sent)
        taken.unused()

    def succeeded(self, route: str, seconds: float, sent: float) -> None:
        """Records an answer. `seconds` is the attempt's duration, `sent` the time when it was admitted."""
        now = self._clock()
        self.answered += 1
        self._pause.answered()
        self._outage.over()
        self._compared += 1
        self._seconds += (seconds - self._seconds) * max(_SMOOTHING, 1 / self._compared)
        self._latencies(route).add(seconds)
        self.concurrency.answered(route, seconds, self.in_flight, sent, now)
        if self._slower_than and seconds > self._slower_than and self.breaker.opened is not None:
            self.breaker.failed(sent, now)  # the trial call was still slow
        else:
            self._back(sent, now)
        self._heed()

    def refused(self, sent: float, charged: bool) -> None:
        """Records a refusal or a useless answer; if the endpoint charged for it, it counts as an answer."""
        self.answered += charged
        self._outage.over()
        self._back(sent, self._clock())
        self._heed()

    def failed(self, error: EngineError, sent: float, route: str = "", seconds: float = 0.0) -> None:
        """Records a failure of the endpoint, not of the call."""
        now = self._clock()
        self._outage.failed(now, str(error))
        if isinstance(error, CallTimeout) and seconds:
            self._timed_out(error, sent, route, seconds, now)
        overloaded = isinstance(error, RateLimited) or (isinstance(error, Unavailable) and error.overloaded)
        if overloaded:
            self._congested(error, sent, now)
        elif self.breaker.failed(sent, now):
            self._event("down", f"{self.name} is taken out after failures in a row: {error}")
        if overloaded and self.breaker.trying:
            self.breaker.failed(sent, now)
        self._heed()

    def _timed_out(self, error: CallTimeout, sent: float, route: str, seconds: float, now: float) -> None:
        """A timeout is congestion, and a sign that more time is needed: by streaming, or as such."""
        # The answer would have taken longer than the timeout: without this the timeout could never grow again.
        self._latencies(route).add(1.5 * seconds)
        self._timeouts += 1
        if self._timeouts <= self.answered * _STRAGGLERS:
            return  # one among many: a lost connection, and not the endpoint's pace
        self.concurrency.congested(sent, self.in_flight, now)
        if self.streaming is None and isinstance(self.backend, Streaming):
            self.streaming = self.backend
            then = "answers are streamed from now on, and only silence is timed"
        else:
            self._least_timeout = max(self._least_timeout, min(2 * seconds, _LONGEST_TIMEOUT_S))
            then = f"the next ones may take {self._least_timeout:.0f} s"
        self._event("timeout", f"{self.name}: {error}; {then}")

    def abandoned(self, sent: float) -> None:
        """Records a call that was cancelled or failed by itself: only a trial call ends with it."""
        self.breaker.abandoned(sent)

    def thought_away(self, purpose: str, answer: int, allowed: int, said: str) -> None:
        """Records an answer that went into reasoning. Raises EndpointError where more tokens have not helped."""
        if sentence := self.allowance.thought_away(purpose, answer, allowed, said):
            self._event("reasoning", f"{self.name}: {sentence}")

    def doubt(self, said: str, *, wild: bool) -> None:
        """Records a count of tokens that cannot be. An endpoint whose counts are wild again and again is retired."""
        self._once("usage", f"{self.name} reports {said}; at most that is counted")
        self._wild += wild
        if self._wild >= WILD_TIMES:
            self.retire(EndpointError(f"{self.name} reports impossible counts of tokens, such as {said}"))

    def check_length(self, answer: int, limit: int) -> None:
        """Records an answer's tokens: where they exceed the limit that was sent, more is set aside for the next."""
        if answer > limit * self.overlong:
            self.overlong = answer / max(1, limit)
            times = f"{self.overlong:.1f} times as long as was asked for"
            self._event("overlong", f"{self.name} answers up to {times}; so much is set aside for each call")

    def check_bill(self, usage: Usage) -> None:
        """Tells once of what a reply's usage holds and the price does not know."""
        for name in usage.unread:
            self._once(
                "usage", f"{self.name} reports {name}, which is not known here and not counted in its price"
            )
        if not self.price.knows(usage.tier):
            tier = f"{self.name} served a call at the tier {usage.tier!r}, whose price is not known"
            self._once("price", f"{tier}; the dearest that is known is counted")

    def _once(self, kind: str, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._event(kind, sentence)

    def retire(self, reason: FatalError) -> None:
        """Sends it no more calls in this start."""
        if self.retired is None:
            self.retired = reason
            self._event("retired", f"{self.name} is not asked any more: {reason}")

    def rest(self, why: str, slower_than: float) -> None:
        """Takes it out until a trial call takes at most `slower_than` seconds."""
        if self.breaker.opened is None:
            self._slower_than = slower_than
            self.breaker.open(self._clock(), by_tries=True)
            self._compared = 0
            self._event("slow", f"{self.name} is taken out for a while: {why}")

    def speed(self) -> Speed:
        """Its speed, for a comparison with endpoints that do the same work."""
        asked = self.retired is None and self.breaker.opened is None and not self._pause.active(self._clock())
        return Speed(self._seconds, self._compared, asked)

    def _back(self, sent: float, now: float) -> None:
        if self.breaker.answered(sent):
            self._slower_than = 0.0
            self._pause.ramp(now)
            self._event("back", f"{self.name} answers again")

    def _congested(self, error: EngineError, sent: float, now: float) -> None:
        """Reduces the calls in flight and pauses this endpoint only."""
        anew = self.concurrency.congested(sent, self.in_flight, now)
        if (
            getattr(error, "tokens", False)
            and self.rates.limits_tokens
            and not self.rates.charges_max_tokens_upfront
        ):
            self.rates.charges_max_tokens_upfront = True
            self._event("limits", f"{self.name} counts a call's max_tokens against its limit; so do we")
        self._pause.begin(now, getattr(error, "retry_after", None), anew=anew)
        if anew:
            self._event("rate_limited", f"{self.name} asked for less: {error}")

    def _heed(self) -> None:
        """Adopts the limits that the endpoint announces, if they are new, and passes on what was found out."""
        if notices := getattr(self.backend, "notices", None):
            for kind, sentence in notices:
                self._event(kind, sentence)
            notices.clear()
        announced = getattr(self.backend, "announced", None)
        if announced is self.rates.announced:
            return
        for kind, limit in self.rates.heed(announced):
            self._event("limits", f"{self.name} announces {limit:,.0f} {kind} per minute; kept")

    def _latencies(self, route: str) -> Latencies:
        latencies = self.latencies.get(route)
        if latencies is None:
            latencies = self.latencies[route] = Latencies()
        return latencies

    def _event(self, kind: str, sentence: str) -> None:
        self._record(self.name, kind, sentence)

    # --- for people ---

    def statistics(self) -> EndpointStatistics:
        limit, announced = self.concurrency.limit, self.rates.announced
        return EndpointStatistics(self.name, self.in_flight, limit, self.answered, self._state(), announced)

    def standing(self) -> dict[str, Any]:
        """The same as plain values, with the median seconds of an answer by route."""
        now = self.statistics()
        medians = {route: round(each.quantile(0.5), 3) for route, each in self.latencies.items()}
        announced = now.announced and {"requests": now.announced.requests, "tokens": now.announced.tokens}
        return {
            **now._asdict(), "limit": round(now.limit, 1), "announced": announced, "median_s": medians,
            "waits": self.waits(),
        }  # fmt: skip

    def waits(self) -> str:
        """What keeps it from being asked at this moment, in words; '' where nothing does."""
        now = self._clock()
        if self.retired is not None:
            return f"{self.name} is not asked any more: {self.retired}"
        if self._outage.lasted(now) > 0:
            wait = self.breaker.wait(now)
            then = "trying now" if not wait else f"next try in {wait:.0f} s"
            return f"{self.name}: {self._outage.said}; {then}"
        if (rest := self._pause.until - now) > 0:
            return f"{self.name} asked for less; next call in {max(1.0, rest):.0f} s"
        if self.breaker.opened is not None:
            return f"{self.name} is out for a while, being slow"
        return ""

    def _state(self) -> str:
        if self.retired is not None:
            return "out"
        if self._pause.active(self._clock()):
            return "paused"
        return "resting" if self.breaker.opened is not None else "asked"

    def __repr__(self) -> str:
        return f"<Endpoint {self.statistics()}>"
