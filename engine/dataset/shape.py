"""What all rows of a dataset have in common, so that new items have it too: gathered in one pass over them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.answers.numbers import readings
from engine.answers.same import same
from engine.answers.scoring import scored
from engine.dataset.chats import ChatShape
from engine.dataset.forms import Example
from engine.dataset.label_form import LabelForm
from engine.items import Label

_LEAST_ROWS = 5
_MOST_LABELS = 20_000
"""Labels that are kept to find their form; a dataset with more shows it by these."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What new items are held to, besides the types of the columns."""

    choices: int | None = None
    """The number of choices, if it is always the same."""
    label: LabelForm = field(default_factory=LabelForm)
    """The form of all labels; free with choices, whose labels are letters."""
    labels: Mapping[str, LabelForm] = field(default_factory=dict)
    """Of several labels by name."""
    lengths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By part: characters of the shortest and of the longest; none of few rows, which show no bounds."""
    optional: frozenset[str] = frozenset()
    """Parts that are empty in some rows."""
    chat: ChatShape = field(default_factory=ChatShape)
    ends_in_label: bool = False
    """Whether worked solutions end in the label, where it can be told."""
    allowed: tuple[str, ...] = ()
    """The labels that constraints allow; items are held to them by these, and not by the form."""

    @classmethod
    def from_examples(cls, examples: Iterable[Example]) -> Shape:
        gathered = GatheredShape()
        for example in examples:
            gathered.add(example)
        return gathered.shape()

    def form(self, name: str = "label") -> LabelForm:
        """The form of one label by name."""
        return self.labels.get(name, self.label)


class GatheredShape:
    """Mutable: what the rows so far have in common."""

    def __init__(self, solution: str = "") -> None:
        """`solution`: the extra that holds a worked solution."""
        self._solution = solution
        self._ending = Counter[bool]()
        self._rows = 0
        self._choices: set[int] = set()
        self._pairs: dict[str, list[tuple[str, str]]] = {}
        self._seen: Counter[str] = Counter()
        self._lengths: dict[str, tuple[int, int]] = {}
        self._optional: set[str] = set()
        self._chats = ChatShape.gathering()

    def add(self, example: Example) -> None:
        self._rows += 1
        self._choices.add(len(example.choices))
        if not example.choices and example.label is not None and self._seen["label"] < _MOST_LABELS:
            for name, label in _each(example.label):
                self._pair(name, label, example)
        for name, text in texts_of(example) if example.parts else (("text", example.text),):
            size = len(text)
            low, high = self._lengths.get(name, (size, size))
            if size <= low or size >= high:
                self._lengths[name] = min(low, size), max(high, size)
            if not size:
                self._optional.add(name)
        if example.parts:
            self._chats.add(example.parts)
        worked = example.extras.get(self._solution)
        if isinstance(worked, str) and (ends := ends_in(worked, example.label, example.choices)) is not None:
            self._ending[ends] += 1

    def _pair(self, name: str, label: Sequence[str], example: Example) -> None:
        self._seen[name] += 1
        if self._seen[name] <= _MOST_LABELS:
            pairs = self._pairs.setdefault(name, [])
            pairs.extend((each, example.text) for each in label)

    def shape(self) -> Shape:
        choices = next(iter(self._choices)) or None if len(self._choices) == 1 else None
        forms = {name: LabelForm.of(pairs) for name, pairs in self._pairs.items()}
        lengths = self._lengths if self._rows >= _LEAST_ROWS else {}
        return Shape(
            choices,
            forms.get("label", LabelForm()),
            {name: form for name, form in forms.items() if name != "label"},
            dict(lengths),
            frozenset(self._optional),
            self._chats.shape(),
            self._ending[True] >= _LEAST_ROWS and self._ending[True] >= _NEARLY_ALL * self._ending.total(),
        )


_NEARLY_ALL = 0.95


def ends_in(solution: str, label: Label | None, choices: Sequence[str] = ()) -> bool | None:
    """Whether a worked solution arrives at the label; None where no rule can tell."""
    if not isinstance(label, str):
        return None
    last = solution.strip().rpartition("\n")[2]
    if not choices and readings(label):
        numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", last) or re.findall(r"-?\d[\d,]*(?:\.\d+)?", solution)
        return any(same(number, label) for number in numbers) if numbers else None
    return scored(last, label, choices).correct


def _each(label: Label) -> Iterator[tuple[str, Sequence[str]]]:
    """(name, texts) of each label."""
    if isinstance(label, Mapping):
        for name, inner in label.items():
            yield name, (inner,) if isinstance(inner, str) else inner
    else:
        yield "label", (label,) if isinstance(label, str) else label


def texts_of(example: Any) -> Iterator[tuple[str, str]]:
    """The texts of an example or item, each with its name on the wire."""
    if not example.parts:
        yield "text", example.text
    for name, part in example.parts.items():
        if isinstance(part, str):
            yield name, part
