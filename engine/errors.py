"""What can go wrong, and what each kind of failure costs.

EngineError
├─ ConfigError        before the run; names the key, the value, what is allowed       exit 2
├─ TransientError     retried
│  ├─ RateLimited         429; carries the server's Retry-After
│  │  └─ NoCapacity          of a cheaper service tier, such as flex
│  ├─ Unavailable         408, 409, 425, 5xx; 503 and 529 as being overloaded
│  ├─ CallTimeout         no whole reply within the attempt's time
│  ├─ Disconnected        reset, refused, closed half-way
│  ├─ MalformedReply      a 200 whose body is cut or is no JSON
│  ├─ SamplingFailed      the model's answer did not fit the form, and the endpoint kept it
│  ├─ Renegotiated        an optional field was refused; the next attempt leaves it out
│  └─ Rerouted            one of several endpoints refuses its key; the next attempt goes elsewhere
├─ PermanentError     this call only; its items become REJECTs
│  ├─ BadRequest          the endpoint refuses this very request
│  │  └─ ContextExceeded  it does not fit the model's context
│  ├─ ContentFiltered     the endpoint's content filter stopped it
│  ├─ Unparseable         nothing usable in the reply
│  ├─ Truncated           all tokens of the answer went into reasoning
│  ├─ TooLong             longer than an answer of the length asked for can be; charged
│  ├─ Looped              a streamed answer that repeats itself without end
│  ├─ TooSlow             several items at once take longer than there is time for
│  ├─ Unembeddable        a text of which no vector can be made
│  └─ RetriesExhausted    failed on every attempt while other calls went through
├─ FatalError         stops the run; it can be resumed once mended                     exit 4
│  ├─ AuthError           the key is refused, or the account is empty
│  ├─ EndpointError       no such address or model, or it refuses every request
│  ├─ EndpointDown        every endpoint is taken out, for longer than the run has patience
│  ├─ Defect              a mistake of the engine's own
│  ├─ SandboxUnavailable  untrusted programs cannot be locked in as required
│  ├─ EmbedderUnavailable the model that makes vectors cannot be loaded, or changes its mind
│  ├─ WorkersLost         every worker is gone, for longer than the run has patience
│  ├─ RetrieverUnavailable  the source of evidence cannot be reached, or refuses us
│  └─ StoreError          the journal cannot be written
│     └─ DiskFull
└─ StopRun            not a failure: the run ends early, in order, and can be resumed
   ├─ TargetReached       all items wanted are accepted                                 exit 0
   ├─ NearlyAllRejected   going on would spend the cap on nothing                       exit 5
   ├─ BudgetExhausted     no room for another call under the cap                       exit 3
   └─ Interrupted         the user asked for the end                                   exit 130

Deferred is none of them: the answer comes with a later pass, and what needs it is let go until then.
"""

from __future__ import annotations

from pathlib import Path

from engine.items import Usage


class EngineError(Exception):
    """Base of everything that the engine raises on purpose."""


class ConfigError(EngineError):
    """The command line, the config or the dataset is wrong; nothing was spent."""


class TransientError(EngineError):
    """Worth another attempt."""

    reason = "transient"
    paid = False
    """Whether the endpoint may have charged for the attempt although no usage came back."""
    usage: Usage | None = None
    """What the failed attempt used, if the endpoint says so."""


class RateLimited(TransientError):
    """The endpoint asks us to slow down (429)."""

    reason = "rate_limited"

    def __init__(self, message: str, retry_after: float | None = None, *, tokens: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, as the server asked for; None where it did not say."""
        self.tokens = tokens
        """Whether it is tokens of which there were too many."""


class NoCapacity(RateLimited):
    """A cheaper service tier has no room now (429); neither charged nor counted against the rate."""

    reason = "no_capacity"


class Unavailable(TransientError):
    """The endpoint answered, but could not serve (408, 409, 5xx)."""

    reason = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None, *, overloaded: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded
        """Whether the endpoint is overloaded (503, 529): then the call itself is not at fault."""


class CallTimeout(TransientError):
    """No whole reply in time; the endpoint may have worked, and charged, all the same."""

    reason = "timeout"
    paid = True


class Disconnected(TransientError):
    """The connection failed. `paid` is set where the request had already left."""

    reason = "disconnected"

    def __init__(self, message: str, *, paid: bool = False) -> None:
        super().__init__(message)
        self.paid = paid


class MalformedReply(TransientError):
    """A success status with a body that is cut off or not JSON: charged, but useless."""

    reason = "malformed_reply"
    paid = True


class SamplingFailed(TransientError):
    """The model's answer did not fit the form that was asked for, and the endpoint did not pass it on."""

    reason = "sampling_failed"


class Renegotiated(TransientError):
    """The endpoint refused an optional field; the next attempt leaves it out."""

    reason = "renegotiated"
    retry_after = 0.0  # at once


class Rerouted(TransientError):
    """One of several endpoints is out for good; the next attempt goes to another."""

    reason = "rerouted"
    retry_after = 0.0  # at once


class PermanentError(EngineError):
    """Asking again would give the same; costs the items of this one call."""

    reason = "permanent"
    paid = False
    """Whether the endpoint may have charged for it although no usage came back."""
    usage: Usage | None = None
    """What a useless answer took all the same."""


class BadRequest(PermanentError):
    """The endpoint refuses this request (400, 413, 422)."""

    reason = "bad_request"

    def __init__(
        self, message: str, param: str | None = None, told: str = "", *, negotiable: bool = True
    ) -> None:
        super().__init__(message)
        self.negotiable = negotiable
        """Whether a request that leaves out an optional field may be accepted."""
        self.param = param
        """The request field that the endpoint complained about, where it said."""
        self.told = told
        """All that the endpoint said. It may repeat a secret: to be understood, never to be shown."""


class ContextExceeded(BadRequest):
    """The prompt, or the prompt and the answer that it asks for, does not fit the model's context."""

    def __init__(self, message: str, context: int, prompt: int | None = None) -> None:
        super().__init__(message)
        self.context = context
        """Tokens of the context."""
        self.prompt = prompt
        """Tokens of the prompt, where the endpoint says."""

    def room(self, asked: int) -> int:
        """Tokens that are left for an answer; half of what was `asked` where the prompt's size is not known."""
        left = self.context - self.prompt - 16 if self.prompt is not None else asked // 2
        return min(left, asked // 2) if left >= asked else left


class Deferred(BaseException):
    """The answer to a call comes later: what needs it is let go, and made again from the journal once it is there.

    No Exception, so that nobody takes it for a failure of its own.
    """


def is_deferred(error: BaseException) -> bool:
    """Whether it is a Deferred, or a group of nothing else: a validator may ask several things at once."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_deferred, error.exceptions))
    return isinstance(error, Deferred)


LEAST_ANSWER = 64
"""Tokens. An answer that may only be shorter is not asked for."""


class ContentFiltered(PermanentError):
    """The endpoint's own content filter refused the prompt or withheld the answer."""

    reason = "content_filtered"


class Unparseable(PermanentError):
    """The reply holds nothing that can be used."""

    reason = "unparseable"


class PassageTooLong(PermanentError):
    """A passage of a document, with what is asked of it, does not fit the model's context."""

    reason = "passage_too_long"


class Truncated(PermanentError):
    """The whole allowance of tokens went into reasoning, and no answer was begun."""

    reason = "truncated"


class TooLong(PermanentError):
    """More than an answer of the length that was asked for can be: whatever it holds, it is not read."""

    reason = "too_long"
    paid = True


class Looped(PermanentError):
    """A streamed answer that says the same again and again; it was cut off."""

    reason = "looped"

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said
        """What came before it was cut off: its tokens are charged by it."""


class TooSlow(PermanentError):
    """A call that asks for several items has timed out twice; it is asked for fewer at a time."""

    reason = "too_slow"


class Unembeddable(PermanentError):
    """The embedding model gives no vector for this text."""

    reason = "unembeddable"


class RetriesExhausted(PermanentError):
    """One call failed on every attempt while others went through."""

    reason = "retries_exhausted"


class FatalError(EngineError):
    """Going on would waste money or lose work; the run stops and can be resumed."""


class AuthError(FatalError):
    """The endpoint refuses the key (401, 403) or the account has no credit left."""


class EndpointError(FatalError):
    """Nothing of that name at the endpoint (404, 405)."""


class EndpointDown(FatalError):
    """No suitable endpoint has answered for as long as the run is configured to wait."""


class Defect(FatalError):
    """Something that cannot happen has happened; what was done before is kept."""

    @classmethod
    def caused_by(cls, error: BaseException) -> Defect:
        """The first cause in a group, with its place: what is needed to mend it."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" ({Path(place.tb_frame.f_code.co_filename).name} line {place.tb_lineno})" if place else ""
        return cls(f"a defect in the engine: {type(error).__name__}: {error}{where}")


class SandboxUnavailable(FatalError):
    """This machine cannot lock programs in as tightly as the run requires."""


class EmbedderUnavailable(FatalError):
    """The model that makes vectors cannot be loaded, or what it gives cannot be compared."""


class RetrieverUnavailable(FatalError):
    """The source of evidence cannot be opened, or answers nothing at all."""


class WorkersLost(FatalError):
    """There has been no worker for as long as the run is configured to wait."""


class StoreError(FatalError):
    """The journal cannot be read or written."""


class DiskFull(StoreError):
    """No space is left for the journal; everything up to here is intact."""


class StopRun(EngineError):
    """The run ends early and in order."""


class TargetReached(StopRun):
    """All items wanted are accepted."""


class NearlyAllRejected(StopRun):
    """Hardly any of the latest items was accepted."""


class BudgetExhausted(StopRun):
    """The cap has no room for another call."""


class Interrupted(StopRun):
    """The user asked the run to end."""


PERMANENT_BY_REASON: dict[str, type[PermanentError]] = {
    cls.reason: cls
    for cls in (BadRequest, ContentFiltered, Unparseable, Truncated, TooLong, Looped, RetriesExhausted)
}
"""For raising a journaled failure again without asking the endpoint a second time."""
