"""What a loaded dataset is, in sentences: for whoever checks a config, plans a run or begins one."""

from __future__ import annotations

from collections.abc import Iterator

from engine.dataset.base import BaseDataset

_SHOWN = 12
_BASES = {
    "from_0": "places counted from 0",
    "from_1": "places counted from 1",
    "letters": "letters",
    "keys": "keys",
    "text": "texts",
}


def findings(dataset: BaseDataset) -> Iterator[tuple[str, str]]:
    """(topic, sentence) of each."""
    for note in dataset.notes:
        yield "files", note
    yield from _labels(dataset)
    left = unnamed(dataset)
    if left:
        yield (
            "columns",
            f"not in new items: {listed(left)} (dataset.fields.extras names those that are to be)",
        )


def _labels(dataset: BaseDataset) -> Iterator[tuple[str, str]]:
    fields = dataset.fields
    if fields.config.choices is not None and fields.config.label is not None:
        yield "labels", f"the choices' {_BASES[fields.style.kind]} (dataset.fields.choices.labels)"
        return
    for name, spec in fields.config.all_labels.items():
        form = fields.shape.form(name)
        if form.kind == "closed":
            many = f"one of {len(form.values)}: {listed(form.values)}"
            stated = isinstance(spec.labels, tuple)
            off = "" if stated else "; others are rejected (labels: open takes any)"
            yield name if name != "label" else "labels", f"{many}{off}"
        elif form.in_words():
            yield name if name != "label" else "labels", form.in_words()


def unnamed(dataset: BaseDataset) -> list[str]:
    """The columns that the config names for nothing."""
    named = {path.split(".")[0] for path in dataset.fields.config.columns()} | {
        *dataset.fields.config.columns()
    }
    return [name for name in dataset.fields.schema.columns if name not in named and name != "_meta"]


def listed(names: list[str] | tuple[str, ...]) -> str:
    """As in 'a, b and 3 more'."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
