"""The doors: what the engine asks of a model endpoint, a validator and a journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from engine.constraints import Constraint
from engine.errors import PermanentError
from engine.items import Completion, Item, Prompt, RateLimits, Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """One row for each text, of length 1; a row that is not finite stands for a text that has no vector."""


@runtime_checkable
class Backend(Protocol):
    """One model endpoint. One `complete` is one attempt: no retries, no waiting for limits, no timeout of its own."""

    name: str

    async def complete(self, prompt: Prompt) -> Completion:
        """Ask once. Raises TransientError, PermanentError or FatalError; see engine.errors.

        `usage.cost` is 0 in what comes back: pricing is the client's.
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Streaming(Protocol):
    """A Backend that can tell when the first token came."""

    async def streamed(self, prompt: Prompt, first: Callable[[], None]) -> Completion:
        """Ask once, as `complete` does, but have the answer sent as it is made. Calls `first` at its first token."""
        ...


@runtime_checkable
class Announcing(Protocol):
    """A Backend that passes on which limits its endpoint announces."""

    announced: RateLimits | None
    """The same object until they change."""


class Rate(Protocol):
    """How fast an endpoint may be asked for one thing, requests or tokens. Never blocks; see Coordinator."""

    def wait(self, amount: int = 1) -> float:
        """Seconds until so much may go; 0 for now."""
        ...

    def take(self, amount: int = 1) -> Any:
        """So much goes. What comes back is for `give_back`; None where others have taken it since `wait`."""
        ...

    def give_back(self, entry: Any, taken: int, used: int) -> None:
        """Of what was taken, only `used` was needed, or more."""
        ...


class Coordinator(Protocol):
    """Who owns the rates: this process alone, or all runs that share an endpoint and its key."""

    def rate(self, endpoint: str, kind: str, per_minute: float) -> Rate:
        """The rate of one endpoint, told by a digest of its address, model and key; `kind` is requests or tokens."""
        ...


class CallJournal(Protocol):
    """Where completions are kept before anyone looks inside them."""

    def find(self, key: str) -> Completion | PermanentError | None:
        """What the journal holds for this call, if anything."""
        ...

    async def authorize(self, amount: int) -> None:
        """Note that this start may spend up to `amount` picodollars; on disk when this returns."""
        ...

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None:
        """Returns once the outcome is on disk. Raises StoreError."""
        ...


class Validator(Protocol):
    """Looks at one item. Raises PermanentError to reject it, FatalError to stop the run.

    An entry point of the group `datagen.validators` names a factory: `factory(tools, **options)`,
    with the options that the config gives for it. It raises TypeError or ValueError on wrong options.

    A validator that holds resources is also an asynchronous context manager: entered once before the first
    item, left after the last. One that has something to say of itself in the report is also Described.
    One whose PASS means that the label was found right by other means than the item itself has `confirms = True`.
    """

    name: str

    async def validate(self, item: Item) -> Verdict: ...


@dataclass(frozen=True)
class Tally:
    """A section of the report: how often each value of a list in the verdicts' records was seen."""

    name: str
    """Its key in report.json."""
    title: str
    counted: str
    """The record's key under which the list stands."""
    value: str
    """What one value of it is called."""
    columns: Mapping[str, Sequence[str]]
    """Counts by name, each with the decisions that it counts: pass, revise, reject."""


@dataclass(frozen=True)
class RuleChecked:
    """One rule, in words. Where `checked_where` names a key, only verdicts checked it whose record has that key set."""

    rule: str
    checked_where: str | None = None


@dataclass(frozen=True)
class Compliance:
    """A section of the report: how often each of several rules was kept, by the model that wrote the items."""

    name: str
    title: str
    broken: str
    """The record's key under which the places of the broken rules stand, from 0."""
    rules: Sequence[RuleChecked]


Section = Tally | Compliance


@runtime_checkable
class Described(Protocol):
    """A validator that tells of itself, once it is open: plain JSON values for report.json, under its `about`.

    Some keys mean more: `warning` is a sentence shown to the user at the start, `caveat` one for the card of an
    exported dataset, and `sections` a list of the validator's own sections of the report, of the types above.
    """

    def describe(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Examined(Protocol):
    """A validator's factory that can tell what this machine offers it; for `datagen doctor`."""

    def examine(self) -> Iterable[tuple[str, bool | None, str]]:
        """(name, ok, detail) each; `ok` is None for a plain fact."""
        ...


Ask = Callable[[Prompt], Awaitable[Completion]]
Notify = Callable[[str], None]
"""Called with a sentence for the user: what takes long, what could not be done."""


class Reply(BaseModel):
    """What a model is asked to answer with, as a schema. Keys that were not asked for are left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


R = TypeVar("R")
M = TypeVar("M", bound=Reply)


class Template(Protocol):
    """A prompt's text with places for values; the built-in one, or the user's."""

    def render(self, values: dict[str, Any]) -> tuple[str, str]:
        """(system, user). Raises ConfigError for a value that is not given."""
        ...


@dataclass(frozen=True)
class Question(Generic[R]):
    """One kind of question. `purpose` is its name on the wire; by it the config replaces the template."""

    purpose: str
    template: Template
    schema: Mapping[str, Any]
    """JSON schema of the reply."""
    read: Callable[[Completion], R | None]
    """What a reply says; None where it cannot be read."""
    temperature: float = 0.0
    max_tokens: int = 1024
    attempts: int = 2
    """How often it is asked while the reply cannot be read."""


class Asker(Protocol):
    """Asks a model for one validator: prompt, journal, key, seed, reading of the reply, in one place for all."""

    def question(
        self,
        purpose: str,
        template: str,
        reply: type[M],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
    ) -> Question[M]:
        """A question, to be made once. `template` is Jinja with the blocks `system` and `user`.

        Raises ConfigError where the user's own template for that purpose cannot be used.
        """
        ...

    async def ask(
        self, question: Question[R], item: Item, shown: Mapping[str, Any], *, tag: str = "1", **values: Any
    ) -> R:
        """The reply of a model that sees `shown`, as the item's fenced block, and the template's other `values`.

        `tag` tells apart the calls of one purpose for one item. Raises Unparseable where no reply can be read, and
        what `Tools.ask` raises.
        """
        ...


@dataclass(frozen=True)
class Tools:
    """What a validator is given at its construction."""

    ask: Ask
    """One model call, journaled and paid once, for prompts of your own making; `asker` makes them for you.
    Keys: `{item.id}/{validator}/{purpose}/{n}`."""
    constraints: Sequence[Constraint]
    seed: int
    priority: int
    """The priority for its calls: the further down the pipeline, the sooner admitted."""
    description: str
    """What the config says the dataset is."""
    shown: Callable[[Item], dict[str, Any]]
    """An item in the form in which a model is shown it: text, choices, label, extras."""
    revised: Callable[[Item, Mapping[str, Any]], Item]
    """The item with the fields that a model sent for it. Raises Unparseable where they make no item."""
    read: Callable[[str], dict[str, Any] | None]
    """The JSON object in a model's reply, however it is wrapped; None where there is none."""
    asker: Callable[[str], Asker]
    """The way to ask for the validator of that name."""
    cache: Path
    """The user's folder for what can be fetched or made again; it need not exist yet."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph of evidence, and where it comes from."""

    title: str
    text: str
    revid: int | None = None
    """The page's revision, where the source has revisions."""
    url: str = ""
    licence: str = ""
    source: str = ""
    """The kind of source: mediawiki, local, zim."""


class Embedder(Protocol):
    """Makes vectors of texts. An asynchronous context manager, open while it is asked."""

    name: str
    fingerprint: str
    """Tells two models, or two versions of one, apart; part of a run's identity."""
    at_once: int
    """Calls that are worth making at the same time."""
    inputs: int
    """Texts that are worth giving in one call."""

    @property
    def version(self) -> str:
        """Once open: all that its vectors depend on; vectors of one version may be kept and compared."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape [texts, dimensions]. Raises EmbedderUnavailable, or what a model call raises."""
        ...


Row = dict[str, Any]
"""One line of a dataset, as a JSON object."""
