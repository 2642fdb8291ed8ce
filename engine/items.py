"""The values that travel through a run: frozen, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PICO = 10**12
"""Money is counted in whole picodollars, so that sums are exact and a cap is never exceeded."""


Label = str | tuple[str, ...] | Mapping[str, Any]
"""One label; several at once; or several by name, each a text or several."""


def said(label: Label | None) -> str:
    """A label as one text, for comparing and showing; '' for none."""
    if label is None or isinstance(label, str):
        return label or ""
    if isinstance(label, tuple):
        return ", ".join(label)
    return "; ".join(f"{name}: {said(inner)}" for name, inner in label.items())


POSITIONS = 1 << 16
"""The maximum number of items in one batch."""
SETUP_BATCH = 1 << 40
"""The batch number of calls that are made before the first batch, or that belong to no batch."""

SHARED = "="
"""What the key of a call begins with that is named by what it asks, so that any batch may find its answer."""


def item_number(batch: int, position: int) -> int:
    """An item's number within its run: its row in the journal. Numbers follow the order of the plan."""
    return batch * POSITIONS + position


def item_id(number: int) -> str:
    """The id, as shown to people, of the item with that number."""
    return f"{number // POSITIONS}-{number % POSITIONS}"


def usd(picodollars: int) -> float:
    """Picodollars as dollars, for people and reports."""
    return picodollars / PICO


T = TypeVar("T")


def filled_open(frozen: type[T]) -> type[T]:
    """The same frozen dataclass with slots; its values are made in a third of the time.

    A frozen dataclass sets each field past its own guard, which is slow, and a run makes a dozen values for each item.
    Here a value is filled as one of an open twin class of the same fields, and closed by changing its class.
    """
    names = tuple(each.name for each in fields(frozen))  # type: ignore[arg-type]
    specs = [(each.name, each.type, _default(each)) for each in fields(frozen)]  # type: ignore[arg-type]
    twin = make_dataclass(frozen.__name__, specs, slots=True, eq=False, repr=False)
    values = attrgetter(*names)

    def new(cls: type[T], *given: Any, **named: Any) -> T:
        value: Any = twin(*given, **named)
        value.__class__ = cls
        return value  # type: ignore[no-any-return]

    made: Any = frozen
    made.__new__ = new
    made.__init__ = object.__init__
    made.__reduce__ = lambda self: (frozen, values(self))
    return frozen


def _default(spec: Any) -> Any:
    if spec.default_factory is not MISSING:
        return field(default_factory=spec.default_factory)
    return field(default=spec.default)  # MISSING for none


@filled_open
@dataclass(frozen=True, slots=True)
class Usage:
    """What one or more calls used. `cost` is in picodollars; `cached_tokens` are part of `prompt_tokens`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0
    estimated: bool = False
    """True if the endpoint sent no usage and the client's own estimate is used instead."""
    written_tokens: int = 0
    """Part of `prompt_tokens` written to a prompt cache, which may cost extra; only the cost is journaled."""
    reasoning_tokens: int = 0
    """Part of `completion_tokens` that the model thought with, where the endpoint says so."""
    billed: int | None = None
    """Picodollars, where the reply itself states its price; the client charges that."""
    tier: str = ""
    """The service tier that the endpoint used, where it says so; it may have a price of its own."""
    unread: tuple[str, ...] = ()
    """Fields of the reply's usage that count tokens and that the engine does not know."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cost + other.cost,
            self.estimated or other.estimated,
            self.written_tokens + other.written_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@filled_open
@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a model. `key` names the call within its run: the same key is never paid twice."""

    key: str
    purpose: str
    batch: int
    system: str
    user: str
    schema: Mapping[str, Any]
    temperature: float
    max_tokens: int
    seed: int
    priority: int = 0
    """Lower numbers go first: work further down the pipeline is admitted before new work."""
    model: str = ""
    """Which model is asked, if several serve the same purpose."""
    owner: str = ""
    """Who asks: a validator, or a step of the engine. The report sums calls and dollars by owner."""
    item: str = ""
    """The id of the item that the call is about, if it is about a single item."""
    size: int = 1
    """How many items it asks for. Whoever asks for several can ask for fewer at a time."""
    top_p: float | None = None
    """Sent where the endpoint takes it; likewise `top_k`."""
    top_k: int | None = None

    @property
    def route(self) -> str:
        """The key by which the endpoint is chosen."""
        return f"{self.purpose}@{self.model}" if self.model else self.purpose


@filled_open
@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer to a Prompt."""

    text: str
    model: str
    finish_reason: str
    usage: Usage
    attempts: int = 1
    seconds: float = 0.0
    reasoning: str = ""
    """What the model thought before it answered, where the endpoint passes it on."""
    sent: Mapping[str, Any] = field(default_factory=dict)
    """What was sent otherwise than the prompt says, such as no temperature: `{"temperature": None}`."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits that an endpoint announces, per minute; None if it announces none."""

    requests: float | None = None
    tokens: float | None = None


NO_LIMITS = RateLimits()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: its `text` is what stands in the document's text from `start` to `end`, in characters."""

    number: int
    """Within its run, from 0."""
    file: str
    """The document's name, as the config's place leads to it."""
    sha256: str
    """Of the file."""
    start: int
    end: int
    text: str
    heading: str = ""
    """The headings that it stands under, from the outermost on, joined by ' > '."""
    page: int | None = None
    """The page that it begins on, from 1; None for a format without pages."""
    breaks: tuple[int, ...] = ()
    """Where in `text` further pages begin."""

    def page_at(self, place: int) -> int | None:
        """The page on which a character of `text` stands."""
        return None if self.page is None else self.page + sum(each <= place for each in self.breaks)


@filled_open
@dataclass(frozen=True, slots=True)
class Batch:
    """`size` items to ask for in one call. A pure function of the run's seed, its number and its round."""

    number: int
    size: int
    seed: int
    temperature: float
    examples: tuple[int, ...] = ()
    """Row numbers in the base dataset."""
    labels: tuple[tuple[str, int], ...] = ()
    """How many of each label to ask for; empty if any label may be used."""
    rows: tuple[int, ...] = ()
    """For items of an existing dataset: their line numbers in the file, from 1."""
    dataset: str = ""
    """Which dataset the items are from, if there are several existing ones."""
    strategy: str = ""
    """Which of the configured strategies asks for the batch, if there are several."""
    attributes: tuple[tuple[str, str], ...] = ()
    """The attributes that its items should have: names and values."""
    unlike: tuple[str, ...] = ()
    """Items rejected as near-duplicates, which this batch replaces."""
    notes: tuple[str, ...] = ()
    """People's comments on earlier items."""
    lessons: tuple[str, ...] = ()
    """Why earlier items were rejected, as faults to avoid."""
    top_p: float | None = None
    top_k: int | None = None
    passages: tuple[Passage, ...] = ()
    """What its items are made from, where that is documents; each of another document."""
    unanswerable: bool = False
    """Whether its items ask what the document does not say."""
    given: Mapping[str, Any] | None = None
    """The row that new columns are asked for, where there is one: whoever makes its items needs no file."""


class Decision(StrEnum):
    """A validator's decision about an item."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    REVISE = "revise"
    REJECT = "reject"


@filled_open
@dataclass(frozen=True, slots=True)
class Verdict:
    """A validator's answer. `reason` is a stable slug for counting, `feedback` the sentence for people."""

    decision: Decision
    by: str
    reason: str = ""
    feedback: str = ""
    item: Item | None = None
    """The new item of a REVISE."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """How the decision was reached, as plain JSON values; recorded in the item's `_meta`."""
    usage: Usage = Usage()
    """What the calls for this verdict used; counted by the engine."""
    calls: int = 0
    """How many they were; likewise."""
    seconds: float = 0.0
    tentative: bool = False
    """For a REVISE: the original item is kept if an earlier validator does not pass the new one unchanged."""

    @classmethod
    def passed(cls, by: str, record: Mapping[str, Any] | None = None) -> Verdict:
        return cls(Decision.PASS, by, record=record or {})

    @classmethod
    def revised(
        cls,
        by: str,
        reason: str,
        item: Item,
        feedback: str = "",
        record: Mapping[str, Any] | None = None,
        *,
        tentative: bool = False,
    ) -> Verdict:
        return cls(Decision.REVISE, by, reason, feedback, item, record or {}, tentative=tentative)

    @classmethod
    def rejected(
        cls, by: str, reason: str, feedback: str = "", record: Mapping[str, Any] | None = None
    ) -> Verdict:
        return cls(Decision.REJECT, by, reason, feedback, record=record or {})


@filled_open
@dataclass(frozen=True, slots=True)
class Item:
    """One candidate. `batch_total` is the number of items in its batch, so its end needs no marker."""

    batch: Batch
    position: int
    batch_total: int
    text: str = ""
    """What it is known by: its text, all parts of it, or what the user says in a conversation."""
    label: Label | None = None
    choices: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    """By name, where there is more than one text: the texts, `messages`, `chosen` and `rejected`."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """For an item of an existing dataset: its original row, with fields that the config does not name."""
    model: str = ""
    usage: Usage = Usage()
    """This item's share of the calls made for it."""
    sent: Mapping[str, Any] = field(default_factory=dict)
    """What its call was sent otherwise than the batch says; see Completion."""
    verdicts: tuple[Verdict, ...] = ()
    revisions: int = 0
    vector: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """The vector of the text that a group check compares; see engine.diversity.sameness."""
    text_key: bytes | None = field(default=None, compare=False, repr=False)
    """The key of that text, once it is known: sameness.text_key computes it once for an item."""
    written: tuple[str, str] | None = field(default=None, compare=False, repr=False)
    """(record, meta) as the journal keeps them, where a worker has made them; see engine.stages.written."""
    quotes: tuple[str, ...] = ()
    """What the model copied from the passages as evidence for it."""
    known_as: str = ""
    """What calls about it are named after, where that is not its id: the same for items of which the same is asked."""
    asked: tuple[str, ...] = ()
    """What the calls for its row are named after, likewise."""

    @property
    def number(self) -> int:
        """See `item_number`."""
        return item_number(self.batch.number, self.position)

    @property
    def id(self) -> str:
        return f"{self.batch.number}-{self.position}"

    @property
    def answer(self) -> str:
        """The label as text; '' without one."""
        return said(self.label)

    @property
    def rejection(self) -> Verdict | None:
        """The verdict that ended this item, if one did."""
        last = self.verdicts[-1] if self.verdicts else None
        return last if last is not None and last.decision is Decision.REJECT else None

    @property
    def settled(self) -> bool:
        """Whether no further validator needs to check it."""
        return self.rejection is not None

    def evolve(self, **changes: Any) -> Self:
        values = list(_values_of(self))
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return type(self)(*values)

    def judged(self, verdict: Verdict) -> Item:
        """This item, or the verdict's revision of it, with the verdict added."""
        if verdict.decision is Decision.REVISE and verdict.item is not None:
            return verdict.item.evolve(
                batch=self.batch,
                position=self.position,
                batch_total=self.batch_total,
                origin=self.origin,
                model=self.model,
                sent=self.sent,
                known_as=self.known_as,
                asked=self.asked,
                usage=self.usage + verdict.usage,
                verdicts=(*self.verdicts, replace(verdict, item=None)),
                revisions=self.revisions + 1,
                vector=None,
                text_key=None,
                written=None,
            )
        return self.evolve(usage=self.usage + verdict.usage, verdicts=(*self.verdicts, verdict), written=None)


_PLACES = {each.name: place for place, each in enumerate(fields(Item))}
_values_of: Callable[[Item], tuple[Any, ...]] = attrgetter(*_PLACES)


def changed(before: Item, after: Item) -> dict[str, Any]:
    """What a revision has changed, as it was: by name, None for what was not there."""
    was, now = _by_name(before), _by_name(after)
    return {name: was.get(name) for name in was | now if was.get(name) != now.get(name)}


def _by_name(item: Item) -> dict[str, Any]:
    texts = item.parts or {"text": item.text}
    choices = {"choices": list(item.choices)} if item.choices else {}
    label = {} if item.label is None else {"label": _plain(item.label)}
    return {**texts, **choices, **label, **item.extras}


def _plain(label: Label) -> Any:
    """A label as JSON has it."""
    if isinstance(label, Mapping):
        return {name: _plain(inner) for name, inner in label.items()}
    return list(label) if isinstance(label, tuple) else label
