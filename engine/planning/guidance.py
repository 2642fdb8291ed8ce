"""Builds what guides batches from config and base dataset: selectors of examples, values of attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.config import GenerateConfig, RunConfig
from engine.config.diversity import AttributeConfig, StrategyConfig
from engine.dataset.base import BaseDataset
from engine.dataset.forms import Example, plain
from engine.planning.attributes import MOST, Attribute, conditional, counted
from engine.planning.few_shot import Farthest, Randomly, Selector, balanced, clustered

if TYPE_CHECKING:
    from engine.protocols import Vectors

BY_VECTORS = ("clustered", "farthest")


def selects_by_vectors(generate: GenerateConfig) -> bool:
    """Whether any strategy chooses its examples by their vectors."""
    return any(
        generate.selection_of(way) in BY_VECTORS and generate.few_shot_of(way)
        for way in generate.ways.values()
    )


def check_without_base(config: RunConfig) -> None:
    """Raises ConfigError where a setting needs a base dataset and there is none."""
    generate = config.generate
    if config.dataset.path is not None:
        return
    if any(generate.few_shot_of(way) > 0 for way in generate.ways.values()):
        raise config.wrong(
            "generate.few_shot", "is above 0, and there is no dataset.path to take examples from"
        )
    for name, attribute in generate.attributes.items():
        if attribute.field is not None or attribute.extract is not None:
            raise config.wrong(
                f"generate.attributes.{name}", "comes from the base dataset; there is no dataset.path"
            )


def check_guidance(config: RunConfig, dataset: BaseDataset) -> None:
    """Raises ConfigError where the base dataset lacks what selection or attributes need."""
    generate, there = config.generate, len(dataset.examples)
    for name, way in generate.ways.items():
        if (few := generate.few_shot_of(way)) > there:
            own = way.few_shot is not None
            key = f"generate.strategies.{name}.few_shot" if own else "generate.few_shot"
            raise config.wrong(key, f"{few} examples asked for, the dataset has {there}")
        if generate.selection_of(way) == "balanced":
            _check_field(config, dataset, generate.balance, "generate.balance")
    independent = sum(attribute.of is None for attribute in generate.attributes.values())
    if independent > MOST:
        raise config.wrong(
            "generate.attributes", f"{independent} of them depend on no other; at most {MOST} may"
        )
    for name, attribute in generate.attributes.items():
        if attribute.field is not None:
            _check_field(config, dataset, attribute.field, f"generate.attributes.{name}.field")


def _check_field(config: RunConfig, dataset: BaseDataset, field: str, key: str) -> None:
    if any(value_of(example, field) is not None for example in dataset.examples):
        return
    fields = dataset.fields.config
    known = [*(["label"] if fields.label else []), *fields.extras]
    raise config.wrong(
        key,
        f"no row has a value of {field!r}; known here: {', '.join(known) or 'no field'} "
        "(a field of the dataset is known once dataset.fields.extras lists it)",
    )


def value_of(example: Example, field: str) -> str | None:
    """A field's value as text: the label, or an extra."""
    value = example.label if field == "label" else example.extras.get(field)
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None or isinstance(value, dict) else plain(value)


# --- selection -------------------------------------------------------------------------------------


def selectors_of(
    generate: GenerateConfig, dataset: BaseDataset, seed: int, vectors: Vectors | None
) -> dict[str, Selector]:
    """By strategy. Without vectors, selectors that need them choose at random: only for prompt previews."""
    return {name: _selector(generate, way, dataset, seed, vectors) for name, way in generate.ways.items()}


def _selector(
    generate: GenerateConfig, way: StrategyConfig, dataset: BaseDataset, seed: int, vectors: Vectors | None
) -> Selector:
    selection, few = generate.selection_of(way), generate.few_shot_of(way)
    if selection == "balanced":
        return balanced([value_of(example, generate.balance) for example in dataset.examples])
    if selection in BY_VECTORS and vectors is not None and few:
        return clustered(vectors, few, seed) if selection == "clustered" else Farthest(vectors)
    return Randomly(len(dataset.examples))


# --- attributes ------------------------------------------------------------------------------------


def attributes_of(
    generate: GenerateConfig, dataset: BaseDataset, extracted: Mapping[str, Sequence[str]]
) -> list[Attribute]:
    """All attributes that have values; `extracted` are the keywords that a model named, with repetitions."""
    attributes = []
    for name, spec in generate.attributes.items():
        values = _values(name, spec, generate, dataset, extracted)
        if any(values.values()):
            attributes.append(Attribute(name, values, spec.of))
    return attributes


def rows_by_value(generate: GenerateConfig, dataset: BaseDataset) -> dict[tuple[str, str], list[int]]:
    """The rows that have a value of an attribute which a field of the base dataset holds; by (name, value)."""
    fields = {name: spec.field for name, spec in generate.attributes.items() if spec.field is not None}
    rows: dict[tuple[str, str], list[int]] = {}
    if not fields:
        return rows
    for place, example in enumerate(dataset.examples):
        for name, field in fields.items():
            if (value := value_of(example, field)) is not None:
                rows.setdefault((name, " ".join(value.split()).casefold()), []).append(place)
    return rows


def _values(
    name: str,
    spec: AttributeConfig,
    generate: GenerateConfig,
    dataset: BaseDataset,
    extracted: Mapping[str, Sequence[str]],
) -> Mapping[str, Mapping[str, float]]:
    even = spec.weights == "even"
    if spec.values is not None:
        return {"": spec.values}
    if spec.by is not None:
        return spec.by
    if spec.extract is not None:
        return {"": counted(extracted.get(name, ()), spec.keep, even=even, loosely=True)}
    assert spec.field is not None
    values = [value_of(example, spec.field) for example in dataset.examples]
    if spec.of is None:
        return {"": counted((value for value in values if value is not None), spec.keep, even=even)}
    parent = generate.attributes[spec.of].field
    assert parent is not None
    parents = [value_of(example, parent) for example in dataset.examples]
    pairs = (
        (one, value)
        for one, value in zip(parents, values, strict=True)
        if one is not None and value is not None
    )
    return conditional(pairs, spec.keep, even=even)
