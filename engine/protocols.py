"""The protocols that the engine requires of a model endpoint, a validator and a journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from engine.constraints import Constraint
from engine.errors import PermanentError
from engine.items import Completion, Item, Passage, Prompt, RateLimits, Verdict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """One row for each text, of length 1; a row that is not finite means that the text has no vector."""


@runtime_checkable
class Backend(Protocol):
    """One model endpoint. One `complete` is one attempt: no retries, no waiting for limits, no timeout of its own."""

    name: str

    async def complete(self, prompt: Prompt) -> Completion:
        """Ask once. Raises TransientError, PermanentError or FatalError; see engine.errors.

        `usage.cost` is 0 in the result: the client computes the price.
        """
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Streaming(Protocol):
    """A Backend that can report how an answer arrives."""

    async def streamed(self, prompt: Prompt, heard: Callable[[], None]) -> Completion:
        """Ask once, as `complete` does, but stream the answer. Calls `heard` at each piece of it."""
        ...


@runtime_checkable
class Announcing(Protocol):
    """A Backend that passes on the rate limits that its endpoint announces."""

    announced: RateLimits | None
    """The same object until the limits change."""


@runtime_checkable
class Negotiating(Protocol):
    """A Backend that learns from refusals what its endpoint accepts: for each purpose, by one call at first."""

    notices: list[tuple[str, str]]
    """(kind, sentence) of what people should know; whoever reads it empties it."""

    def settled(self, purpose: str) -> bool:
        """Whether a call for this purpose has been answered, so that others may be sent at the same time."""
        ...

    def terms(self) -> Mapping[str, Any]:
        """What was settled so far, as plain JSON values, to be kept for later starts."""
        ...

    def restore(self, terms: Mapping[str, Any]) -> None:
        """Takes over what `terms` returned in an earlier start."""
        ...


class Rate(Protocol):
    """An endpoint's rate limit for one resource, requests or tokens. Never blocks; see Coordinator."""

    def wait(self, amount: int = 1) -> float:
        """Seconds until `amount` may be used; 0 means now."""
        ...

    def take(self, amount: int = 1) -> Any:
        """Use `amount`. Returns an entry for `give_back`; None if others used it up since `wait`."""
        ...

    def give_back(self, entry: Any, used: int) -> None:
        """Correct an entry: `used`, which may be more than was taken, was needed."""
        ...

    def change(self, per_minute: float) -> None:
        """Keep to another limit from now on; what was taken before still counts."""
        ...


class Coordinator(Protocol):
    """The owner of the rates: this process alone, or all runs that share an endpoint and its key."""

    def rate(self, endpoint: str, kind: str, per_minute: float) -> Rate:
        """The rate for `endpoint`, a digest of its address, model and key; `kind` is requests or tokens."""
        ...

    def close(self) -> None:
        """Release what the rates hold; they are not used after this."""
        ...


class CallJournal(Protocol):
    """Stores completions before anything reads their content."""

    def find(self, key: str) -> Completion | PermanentError | None:
        """The recorded outcome of this call, if there is one."""
        ...

    async def authorize(self, amount: int) -> None:
        """Record that this start may spend up to `amount` picodollars; on disk when this returns."""
        ...

    def sending(self, key: str, expected: int) -> None:
        """Record, without waiting, that this call is sent, and the picodollars that it may well cost."""
        ...

    async def record(self, prompt: Prompt, outcome: Completion | PermanentError) -> None:
        """Returns once the outcome is on disk. Raises StoreError."""
        ...


class Validator(Protocol):
    """Checks one item. Raises PermanentError to reject it, FatalError to stop the run.

    An entry point of the group `datagen.validators` names a factory: `factory(tools, **options)`,
    with its options from the config. It raises TypeError or ValueError for wrong options.

    A validator that holds resources is also an asynchronous context manager: entered once before the first
    item, left after the last. One that describes itself in the report is also Described.
    If its PASS means that something other than the item itself confirmed the label, it has `confirms = True`.
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
    """The key of the list in the record."""
    value: str
    """The name of one value in the list."""
    columns: Mapping[str, Sequence[str]]
    """The columns by name, each with the decisions that it counts: pass, revise, reject."""


@dataclass(frozen=True)
class RuleChecked:
    """One rule, in words. If `checked_where` is set, only verdicts whose record has that key checked it."""

    rule: str
    checked_where: str | None = None


@dataclass(frozen=True)
class Compliance:
    """A section of the report: how often each rule was kept, by the model that wrote the items."""

    name: str
    title: str
    broken: str
    """The record's key that lists the indices of the broken rules, from 0."""
    rules: Sequence[RuleChecked]


Section = Tally | Compliance


@runtime_checkable
class Described(Protocol):
    """A validator that describes itself once it is open: plain JSON values for `about` in report.json.

    Special keys: `warning` is a sentence shown to the user at the start, `caveat` one for the card of an
    exported dataset, `edits` names the reasons of revisions that mend no defect, and `sections` is a list of the
    validator's own sections of the report, of the types above.
    """

    def describe(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Examined(Protocol):
    """A validator's factory that can report what this machine offers it; for `datagen doctor`."""

    def examine(self) -> Iterable[tuple[str, bool | None, str]]:
        """(name, ok, detail) each; `ok` is None for a plain fact."""
        ...


Ask = Callable[[Prompt], Awaitable[Completion]]
Notify = Callable[[str], None]
"""Called with a sentence for the user about what takes long or could not be done."""


class Reply(BaseModel):
    """The answer that a model is asked for, as a schema. Keys that were not asked for are ignored.

    A field of the type `dict[str, Any]` is an item of the dataset, and is asked for in an item's form.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})


R = TypeVar("R")
M = TypeVar("M", bound=Reply)


class Template(Protocol):
    """A prompt's text with places for values; the built-in one, or the user's."""

    def render(self, values: dict[str, Any]) -> tuple[str, str]:
        """(system, user). Raises ConfigError for a missing value."""
        ...


@dataclass(frozen=True)
class Question(Generic[R]):
    """One kind of question. `purpose` is its name on the wire and its key for a template in the config."""

    purpose: str
    template: Template
    schema: Mapping[str, Any]
    """JSON schema of the reply."""
    read: Callable[[Completion], R | None]
    """Parses a reply; None if it cannot be parsed."""
    temperature: float = 0.0
    max_tokens: int = 1024
    attempts: int = 2
    """How often it is asked at most while no reply can be parsed."""


class Asker(Protocol):
    """Asks a model for one validator: handles prompt, journal, key, seed and parsing of the reply."""

    def question(
        self,
        purpose: str,
        template: str,
        reply: type[M],
        *,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        bounds: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Question[M]:
        """A question; create it once. `template` is Jinja with the blocks `system` and `user`.

        `bounds` are keywords of JSON Schema for single fields, such as `{"names": {"maxItems": 3}}`; `names[]`
        means the entries of a list, `names[].first` a field of each. They keep weak models from endless answers,
        and are not checked on the reply.
        Raises ConfigError if the user's own template for that purpose cannot be used.
        """
        ...

    async def ask(
        self,
        question: Question[R],
        item: Item,
        shown: Mapping[str, Any],
        *,
        tag: str = "1",
        model: str = "",
        **values: Any,
    ) -> R:
        """The reply of a model that is shown `shown`, as the item's fenced block, and the other `values`.

        `model` is one of `Tools.models`, where there are several for the purpose. `tag` distinguishes the calls of
        one purpose for one item. Raises Unparseable if no reply can be read, and what `Tools.ask` raises.
        """
        ...


@dataclass(frozen=True)
class Tools:
    """What a validator's factory receives."""

    ask: Ask
    """One model call, journaled and paid once, for prompts that you build; `asker` builds them for you.
    Keys: `{item.id}/{validator}/{purpose}/{n}`."""
    constraints: Sequence[Constraint]
    seed: int
    priority: int
    """The priority of its calls: those further down the pipeline are admitted sooner."""
    description: str
    """The description of the dataset in the config."""
    shown: Callable[[Item], dict[str, Any]]
    """An item in the form that a model sees: text, choices, label, extras."""
    question: Callable[[Item], dict[str, Any]]
    """What an item asks, without its answer and whatever may reveal it: text, choices."""
    revised: Callable[[Item, Mapping[str, Any]], Item]
    """The item with the fields that a model sent. Raises Unparseable if they do not form an item."""
    read: Callable[[str], dict[str, Any] | None]
    """The JSON object in a model's reply, however it is wrapped; None if there is no object."""
    asker: Callable[[str], Asker]
    """The Asker for the validator of that name."""
    cache: Path
    """The user's folder for data that can be fetched or made again; it need not exist yet."""
    models: Callable[[str], Sequence[str]] = lambda purpose: ()
    """The names of the models for a purpose, where the config gives it several."""
    labels: Sequence[str] = ()
    """The labels that an item can have, where the dataset has a closed set of them."""
    label: Literal["one", "several", ""] = "one"
    """Whether an item has one label or a list of them; '' where it has none, or labels with names."""
    passages: Callable[[], Iterable[Passage]] | None = None
    """All passages of the documents that items are made from; None where they are made from none."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The dataset's fields, each with its name on an item: `text`, `label`, a part, or an extra."""
    no_answer: str = ""
    """The label of a question that the documents do not answer, where such questions are asked for."""


@runtime_checkable
class Graded(Protocol):
    """A Validator that can decide by other policies: a calibration measures what each of them is worth."""

    def policies(self) -> Iterable[tuple[Mapping[str, Any], Validator]]:
        """Options that differ from the config's, each with the validator that has them.

        It is open while this one is, and asks the same questions under the same keys, so that a policy costs only
        what the others have not asked.
        """
        ...


class Expected(NamedTuple):
    """How often a validator asks one question of an item that reaches it: stated, not measured."""

    question: Question[Any]
    calls: tuple[float, float, float]
    """At least, likely, at most."""
    answer: int
    """Tokens of a likely answer."""
    beside: int = 0
    """Tokens of a prompt besides its template and the item, such as passages."""


@runtime_checkable
class Foreseeing(Protocol):
    """A Validator that states beforehand what it will ask, so that a plan can count it."""

    def foresees(self) -> tuple[Sequence[Expected], tuple[float, float, float]]:
        """Its questions, and the share of items that it lets through: at least, likely, at most."""
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """A paragraph of evidence and its source."""

    title: str
    text: str
    revid: int | None = None
    """The page's revision, where the source has revisions."""
    url: str = ""
    licence: str = ""
    source: str = ""
    """The kind of source: mediawiki, local, zim."""


class Embedder(Protocol):
    """Turns texts into vectors: an asynchronous context manager that is open while it is used."""

    name: str
    fingerprint: str
    """Distinguishes two models, or two versions of a model; part of a run's identity."""
    at_once: int
    """How many concurrent calls are worthwhile."""
    inputs: int
    """How many texts per call are worthwhile."""

    @property
    def version(self) -> str:
        """Once open: all that its vectors depend on; vectors of one version may be kept and compared."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Shape [texts, dimensions]. Raises EmbedderUnavailable, or what a model call raises."""
        ...


Row = dict[str, Any]
"""One line of a dataset, as a JSON object."""
