"""The knobs of diversity: embedding, group check, attributes, strategies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.markers import Operational, PathFrom, Secret
from engine.config.parts import Section

# --- embedding -------------------------------------------------------------------------------------


class EmbeddingPrice(Section):
    """US dollars: per million tokens, and for each call whatever it takes."""

    input: float = Field(ge=0, le=1e6)
    per_call: float = Field(default=0.0, ge=0, le=1e6)


class EmbeddingEndpoint(Section):
    """An OpenAI-compatible `/embeddings` endpoint. Address and key are the main model's where absent."""

    name: str
    base_url: Annotated[str | None, Operational()] = None
    api_key: Annotated[str | None, Secret(), Operational()] = None
    price: Annotated[EmbeddingPrice | None, Operational()] = None
    """From the genai-prices package where absent."""
    dimensions: int | None = Field(default=None, ge=8)
    """Asks for shorter vectors, of models that can."""
    inputs: Annotated[int, Operational()] = Field(default=128, ge=1, le=512)
    """Texts in one call, at most."""
    in_flight: Annotated[int, Operational()] = Field(default=8, ge=1)
    """Embedding calls at once, at most."""


class EmbeddingConfig(Section):
    """What makes vectors of texts: a local model, an endpoint, or a function of your own."""

    model: Annotated[str, PathFrom(dotted=True)] = "all-MiniLM-L6-v2"
    """A sentence-transformers model, by name or by path."""
    revision: str | None = None
    """Of a model from the hub: branch, tag or commit."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto' takes bfloat16 where this machine computes it faster; similarities move by less than 0.01."""
    endpoint: EmbeddingEndpoint | None = None
    function: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """'package.module:name', called with a list of texts; gives one vector for each, in order."""
    cache: Annotated[Path | None, PathFrom(), Operational()] = None
    """Folder for the base dataset's vectors; the user's cache folder where absent."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.endpoint is not None and self.function is not None:
            raise ValueError("give either 'endpoint' or 'function'")
        return self


# --- group check -----------------------------------------------------------------------------------


class GroupCheckConfig(Section):
    """Keeps an item out that says the same as an accepted one, or as one of the base dataset."""

    same: Literal["auto", "text", "meaning", "meaning+numbers", "meaning+answer"] = "auto"
    """What counts as the same. 'auto': meaning+answer for multiple choice, meaning+numbers where most labels are
    numbers, otherwise meaning."""
    threshold: float | None = Field(default=None, gt=0, le=1)
    """Cosine similarity from which two texts mean the same; by `same` where absent."""
    against_base: bool = True
    """Whether the base dataset's items count as accepted before."""
    on_duplicate: Literal["reject", "retry"] = "reject"
    """'retry' asks once more for an item unlike the one turned away."""
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
    """A list of values is a mapping in which each weighs 1."""
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
    """Where one attribute's values come from: given here, a field of the base dataset, or its examples."""

    values: Annotated[Weights | None, BeforeValidator(_as_weights)] = None
    of: str | None = None
    """Another attribute, named before this one, on whose value this one's values depend."""
    by: Annotated[dict[str, Weights] | None, BeforeValidator(_as_conditional)] = None
    """With `of`: the values for each of the other attribute's values."""
    field: str | None = None
    """A field of the base dataset: its values there are the values."""
    weights: Literal["even", "counts"] = "even"
    """Of a field or of what is extracted: whether each value counts the same, or as often as it was seen."""
    extract: int | None = Field(default=None, ge=1, le=100_000)
    """So many examples are shown to the model, which names what characterises each."""
    keep: int = Field(default=30, ge=1, le=10_000)
    """Of a field or of what is extracted: the most frequent values that are kept."""

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
    """A list, or a mapping of values to weights, is short for `values`."""
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
    """Raises ValueError where an attribute depends on what does not stand before it."""
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
    """One way to ask for a batch: what differs from `generate`."""

    share: float = Field(default=1.0, gt=0)
    """Weight among the strategies, where the mix is fixed; what an adaptive one starts from."""
    attributes: bool = True
    """Whether batches are given attribute values, where there are attributes."""
    selection: Selection | None = None
    few_shot: int | None = Field(default=None, ge=0, le=1000)
    temperature: Temperature | None = None

    @field_validator("temperature")
    @classmethod
    def _in_range(cls, value: Temperature | None) -> Temperature | None:
        return value if value is None else in_range(value)


def in_range(value: Temperature) -> Temperature:
    low, high = value if isinstance(value, tuple) else (value, value)
    if not 0 <= low <= high <= 2:
        raise ValueError("must lie between 0 and 2, the lower first")
    return value
