"""The shape of report.json, section by section. People script against it: keys are added, none goes away."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Undecided(TypedDict):
    undecided: int
    """Items that are paid for and whose validation is not finished; a resume does that before it asks for new ones."""
    finishing_usd: float
    """What finishing them costs, by what validating the others did."""


class Items(Undecided):
    """Counts over all starts of the run."""

    target: int
    generated: int
    accepted: int
    rejected: int
    surplus: int
    rejected_by: dict[str, int]
    reasons: dict[str, dict[str, int]]
    """By validator or step, then by reason."""


class ValidatorEntry(TypedDict):
    """One validator's counts, time and cost."""

    seen: int
    passed: int
    revised: int
    rejected: int
    reasons: dict[str, int]
    seconds: float
    calls: int
    cost_usd: float
    caught: int
    """Items rejected or corrected for a defect: not those that were only reworded, nor those nobody could check."""
    usd_per_catch: float | None
    """Dollars for each of them."""
    better: NotRequired[float]
    """The share of revised items that a model found better than before, asked in both orders."""
    about: NotRequired[dict[str, Any]]
    """What it says of itself; see the protocol Described."""


class Calls(TypedDict):
    completed: int
    retried: int
    rate_limited: int
    failed: int
    by_purpose: dict[str, int]
    usage_estimated: int
    failed_attempts: dict[str, int]
    hedged: int


class BatchesSection(TypedDict):
    """Calls that travelled in batches of a provider; empty where none did."""

    waves: int
    parts: int
    calls: int
    """Answered in batches, over all starts."""
    cost_usd: float
    open_parts: int
    open_calls: int
    done: int
    """Of these, when the provider was last asked."""
    set_aside_usd: float
    until: float | None
    """Seconds since the epoch by which the last of them ends."""


class DocumentEntry(TypedDict):
    """One document. `reason` says why it could not be read, as a slug; '' for one that was."""

    file: str
    pages: int | None
    characters: int
    passages: int
    touched: int
    """Passages that an accepted item was made from."""
    items: int
    reason: str
    said: str
    coverage: list[float]
    """By equal parts of the document: the share of passages that are touched."""


class HeadingEntry(TypedDict):
    """What stands under one of a document's outermost headings."""

    file: str
    heading: str
    passages: int
    items: int


class DocumentsSection(TypedDict):
    files: int
    unreadable: dict[str, int]
    """Files by the reason why they could not be read."""
    passages: int
    untouched: int
    """Passages that no accepted item was made from."""
    left_out: dict[str, int]
    """Passages that nothing is made from, by reason."""
    items_per_passage: dict[str, int]
    """How many passages have so many accepted items."""
    documents: list[DocumentEntry]
    headings: list[HeadingEntry]


class RowsSection(TypedDict):
    """Counts of a run that asks for new columns of rows, over all starts."""

    decided: int
    kept: int
    """Rows with an answer."""
    without: int
    """Rows that are kept with null in their new columns."""
    dropped: int
    answers: int
    """Asked for, over all rows."""
    most_answers: int
    """Of one row."""
    reused: int
    """Answers that another row had asked for."""
    spared: int
    """Answers that were not asked for, since an earlier one had passed."""


class WorkerEntry(TypedDict):
    """One worker under one epoch."""

    name: str
    where: str
    items: int
    calls: int
    items_per_s: float
    in_flight: int
    heard_s: float | None
    """Seconds since it was heard; None once it has left."""
    left: str
    """Why it has left."""


class WorkersSection(TypedDict):
    """The workers of the last start that had any."""

    start: int
    joined: int
    late_calls: int
    """Answers of workers that had been given up, over all starts."""
    late_usd: float
    workers: list[WorkerEntry]
    """Those that are there, and the latest of the others."""


class Tokens(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    """Part of the completion tokens, as reported or estimated from what the model thought."""


class Cost(TypedDict):
    spent_usd: float
    cap_usd: float | None
    per_accepted_usd: float
    by_purpose: dict[str, float]
    unconfirmed_usd: float
    """The most that attempts without a reply may have cost; part of what is spent."""
    priced: bool


class Time(TypedDict):
    """The last start's own."""

    wall_s: float
    items_per_s: float
    calls_per_s: float


class EventEntry(TypedDict):
    """Something that happened at an endpoint; repetitions are counted."""

    kind: str
    endpoint: str
    first: str
    last: str
    times: int
    seconds: float
    words: str


class Acceptance(TypedDict):
    """How batches with, or without, lessons fared."""

    items: int
    accepted: int
    acceptance: float


class LessonsSection(TypedDict, total=False):
    """Empty where no lesson was drawn."""

    drawn: int
    lessons: list[str]
    dropped_at_batch: int | None
    acceptance: dict[str, Acceptance]


class EmbeddingSection(TypedDict):
    model: str
    version: str


class GroupCheckSection(TypedDict):
    same: str
    threshold: float


class Diversity(TypedDict, total=False):
    """What guided the run, and what came of it."""

    embedding: EmbeddingSection
    groupcheck: GroupCheckSection
    attributes: dict[str, Any]
    strategies: dict[str, Any]
    measures: dict[str, Any]
    """As engine.diversity.measures.dataset makes them."""


class GrowthSection(TypedDict, total=False):
    """How a run that generates has grown; see engine.report.growth."""

    richness: dict[str, Any]
    """How many more different items there are to be had; see engine.quality.richness."""
    points: list[dict[str, Any]]


class QualitySection(TypedDict, total=False):
    """What is known of the labels; empty for a run that has none, or generates nothing."""

    said: str
    """In words, whether it is known or not."""
    labels_right: dict[str, Any] | None
    """The share of right labels among the accepted, with its interval, by a calibration; None where there is none."""
    rows: int
    """Items with known labels that it is from."""
    people: dict[str, Any]
    """What people who have judged a sample say; see engine.store.opinions."""
    differs: list[str]
    """How this run's checks differ from the calibrated ones."""


class DatasetFacts(TypedDict):
    rows: int
    bad_rows: dict[str, int]
    sha256: str


class ReportData(TypedDict):
    """All of it; validators add sections of their own."""

    outcome: str
    mode: str
    message: str
    stopped_early: bool
    items: Items
    validators: dict[str, ValidatorEntry]
    difficulty: dict[str, dict[str, int]]
    constraints: list[dict[str, Any]]
    calls: Calls
    batches: NotRequired[BatchesSection]
    workers: NotRequired[WorkersSection]
    rows: NotRequired[RowsSection]
    """Of a run over the rows of a dataset."""
    documents: NotRequired[DocumentsSection]
    """Of a run that was made from documents."""
    usage: Tokens
    cost: Cost
    time: Time
    events: list[EventEntry]
    lessons: LessonsSection
    diversity: Diversity
    growth: GrowthSection
    quality: QualitySection
    dataset: DatasetFacts | None
    model: str | None
    seed: int | None
    starts: int
    engine_version: str | None
