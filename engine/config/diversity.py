"""The settings for diversity: embedding, group check, attributes, strategies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.markers import NotSecret, Operational, PathFrom, Secret, Words
from engine.config.parts import Section

# --- embedding -------------------------------------------------------------------------------------


class EmbeddingPrice(Section):
    """US dollars: `input` per million tokens, `per_call` for each call in addition."""

    input: float = Field(ge=0, le=1e6)
    per_call: float = Field(default=0.0, ge=0, le=1e6)


class EmbeddingEndpoint(Section):
    """An OpenAI-compatible `/embeddings` endpoint. Where absent, address and key are the main model's."""

    name: Annotated[str, NotSecret("a model's name")]
    base_url: Annotated[str | None, Operational()] = None
    api_key: Annotated[str | None, Secret(), Operational()] = None
    price: Annotated[EmbeddingPrice | None, Operational()] = None
    """From the genai-prices package where absent."""
    dimensions: int | None = Field(default=None, ge=8)
    """Requests vectors of this length from models that support it."""
    inputs: Annotated[int, Operational()] = Field(default=128, ge=1, le=512)
    """Most texts in one call."""
    in_flight: Annotated[int, Operational()] = Field(default=8, ge=1)
    """Most embedding calls in flight at once."""


class EmbeddingConfig(Section):
    """What turns texts into vectors: a local model, an endpoint, or your own function."""

    model: Annotated[str, PathFrom(dotted=True), NotSecret("a model's name")] = "all-MiniLM-L6-v2"
    """A sentence-transformers model: its name or its path."""
    revision: str | None = None
    """Branch, tag or commit of a model from the Hugging Face hub."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto' uses bfloat16 where it is faster on this machine; similarities change by less than 0.01."""
    endpoint: EmbeddingEndpoint | None = None
    function: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """'package.module:name', called with a list of texts; returns one vector for each, in order."""
    cache: Annotated[Path | None, PathFrom(), Operational(), NotSecret("a path")] = None
    """Folder that caches the base dataset's vectors; the user's cache folder where absent."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.endpoint is not None and self.function is not None:
            raise ValueError("give either 'endpoint' or 'function'")
        return self


# --- group check -----------------------------------------------------------------------------------


class GroupCheckConfig(Section):
    """Rejects an item that says the same as an accepted item or an item of the base dataset."""

    same: Literal["auto", "text", "meaning", "meaning+numbers", "meaning+answer"] = "auto"
    """What counts as the same. 'auto': meaning+answer for multiple choice, meaning+numbers where most labels are
    numbers, otherwise meaning."""
    threshold: float | None = Field(default=None, gt=0, le=1)
    """Least cosine similarity of two texts that mean the same; where absent, it depends on `same`."""
    against_base: bool = True
    """Whether new items are also compared with the base dataset."""
    on_duplicate: Literal["reject", "retry"] = "reject"
    """'retry' asks once more, for an item unlike the rejected one."""
    index: Annotated[Literal["auto", "exact", "ivf"], Operational()] = "auto"
    """'auto' is exact up to two million vectors of one kind, approximate beyond."""

    @model_validator(mode="after")
    def _threshold_has_a_use(self) -> Self:
        if self.same == "text" and self.threshold is not None:
            raise ValueError("same: text compares no vectors, so a threshold has no use")
        return self


def as_groupcheck(value: Any) -> Any:
    return {} if value is True else None if value is False else value


# --- attributes ------------------------------------------------------------------------------------


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Weights = dict[Name, Annotated[float, Field(gt=0, le=1e9)]]


def _as_weights(value: Any) -> Any:
    """Turns a list of values into a mapping that gives each value the weight 1."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(name, str | int | float) and not isinstance(name, bool) for name in value):
        raise ValueError("must be a list of texts or numbers, or a mapping of values to weights")
    names = [str(name) for name in value]
    if len(set(names)) < len(names):
        raise ValueError("names a value twice")
    return dict.fromkeys(names, 1.0)


def _as_conditional(value: Any) -> Any:
    return (
        {parent: _as_weights(inner) for parent, inner in value.items()} if isinstance(value, dict) else value
    )


class AttributeConfig(Section):
    """The source of an attribute's values: this config, a field of the base dataset, or its examples."""

    values: Annotated[Weights | None, BeforeValidator(_as_weights), Words()] = None
    of: str | None = None
    """The attribute that this one's values depend on; it must be listed before this one."""
    by: Annotated[dict[str, Weights] | None, BeforeValidator(_as_conditional), Words()] = None
    """With `of`: this attribute's values for each value of the other one."""
    field: str | None = None
    """The field of the base dataset that holds the values."""
    weights: Literal["even", "counts"] = "even"
    """For `field` and `extract`: whether values weigh the same, or as often as they occur."""
    extract: int | None = Field(default=None, ge=1, le=100_000)
    """The number of examples shown to the model, which names what characterises each."""
    keep: int = Field(default=30, ge=1, le=10_000)
    """For `field` and `extract`: how many values are kept, the most frequent first."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.values, self.by, self.field, self.extract]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("needs exactly one of 'values', 'by' (with 'of'), 'field' and 'extract'")
        if (self.by is not None) != (self.of is not None) and self.field is None:
            raise ValueError("'of' names the attribute that the values in 'by' depend on: give both")
        if self.values == {} or self.by == {} or any(not inner for inner in (self.by or {}).values()):
            raise ValueError("names no value")
        return self


def as_attribute(value: Any) -> Any:
    """Expands a list, or a mapping of values to weights, into `values`."""
    if isinstance(value, list):
        return {"values": value}
    if not isinstance(value, dict) or not value:
        return value
    known = set(AttributeConfig.model_fields)
    numbers = all(isinstance(inner, int | float) and not isinstance(inner, bool) for inner in value.values())
    is_weights = not set(value) & known or (numbers and not set(value) <= known)
    return {"values": value} if is_weights else value


Attributes = dict[Name, Annotated[AttributeConfig, BeforeValidator(as_attribute)]]


def check_attributes(attributes: Mapping[str, AttributeConfig]) -> None:
    """Raises ValueError where an attribute depends on one that is not before it, or does not match it."""
    before: dict[str, AttributeConfig] = {}
    for name, attribute in attributes.items():
        parent = before.get(attribute.of) if attribute.of is not None else None
        if attribute.of is not None and parent is None:
            raise ValueError(f"{name!r} is of {attribute.of!r}, which does not stand before it")
        if parent is not None and parent.values is not None and attribute.by is not None:
            if lacking := sorted(set(parent.values) - set(attribute.by)):
                raise ValueError(f"{name!r} has no values for {attribute.of} {lacking[0]!r}")
            if unknown := sorted(set(attribute.by) - set(parent.values)):
                raise ValueError(
                    f"{name!r} has values for {unknown[0]!r}, which {attribute.of!r} does not have"
                )
        if parent is not None and attribute.field is not None and parent.field is None:
            raise ValueError(f"{name!r} is a field, so {attribute.of!r} must be one too")
        before[name] = attribute


# --- strategies ------------------------------------------------------------------------------------


Selection = Literal["random", "clustered", "farthest", "balanced"]
Temperature = float | tuple[float, float]


class StrategyConfig(Section):
    """One way to ask for a batch: the settings that differ from `generate`."""

    share: float = Field(default=1.0, gt=0)
    """Weight among the strategies in a fixed mix; the starting weight in an adaptive mix."""
    attributes: bool = True
    """Whether batches get attribute values, if attributes are configured."""
    selection: Selection | None = None
    few_shot: int | None = Field(default=None, ge=0, le=1000)
    temperature: Temperature | None = None

    @field_validator("temperature")
    @classmethod
    def _in_range(cls, value: Temperature | None) -> Temperature | None:
        return value if value is None else in_range(value)


def spread(value: Temperature | int | tuple[int, int] | None, least: float, most: float) -> None:
    """Raises ValueError for a value, or a [low, high], that does not lie between these."""
    if value is None:
        return
    low, high = value if isinstance(value, tuple) else (value, value)
    if not least <= low <= high <= most:
        raise ValueError(f"must lie between {least:g} and {most:g}, the lower first")


def in_range(value: Temperature) -> Temperature:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 <= low <= high <= 2:
        raise ValueError("must lie between 0 and 2, the lower first")
    return value
