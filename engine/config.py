"""Every knob of a run: its unit, its default, what it may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from engine import config_file
from engine.config_diversity import (
    Attributes,
    EmbeddingConfig,
    GroupCheckConfig,
    Selection,
    StrategyConfig,
    Temperature,
    as_groupcheck,
    check_attributes,
    in_range,
)
from engine.config_parts import PriceConfig, Section
from engine.config_simulator import SimulatorConfig
from engine.constraint_forms import WrittenConstraint, compiled
from engine.constraints import (
    LabelIn,
    LabelRatio,
)

Format = Literal["json", "jsonl", "csv", "parquet"]


# --- dataset ---------------------------------------------------------------------------------------


_AROUND_A_GROUP = re.compile(r"([^\\^$.|?*+()\[\]{}]*)\([^()]*\)([^\\^$.|?*+()\[\]{}]*)")


class LabelField(Section):
    """Where the label stands in a row, and how it is spelled there."""

    field: str
    pattern: str | None = None
    """A regular expression; its first group is the label, e.g. '#### (.+)' for GSM8K."""
    write: str = ""
    """How a generated label is written back, e.g. '#### {label}'; found out from a simple pattern."""
    kind: Literal["auto", "index", "letter", "text"] = "auto"
    """For multiple choice: whether the label is a choice's index (from 0), its letter or its text."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None and compiled(pattern).groups < 1:
            raise ValueError("needs one group in parentheses around the label")
        return pattern

    @model_validator(mode="before")
    @classmethod
    def _with_write(cls, given: Any) -> Any:
        """Without `write`, a pattern that is plain text around one group says how to write."""
        if not isinstance(given, dict) or given.get("write"):
            return given
        pattern = given.get("pattern")
        if pattern is None or not isinstance(pattern, str) or compiled(pattern).groups < 1:
            return {**given, "write": "{label}"}
        simple = _AROUND_A_GROUP.fullmatch(pattern)
        if simple is None:
            raise ValueError(
                "needs 'write', such as '#### {label}': how to write a label that the pattern reads"
            )
        return {**given, "write": f"{simple[1]}{{label}}{simple[2]}"}

    @field_validator("write")
    @classmethod
    def _has_place(cls, write: str) -> str:
        if "{label}" not in write:
            raise ValueError("must contain {label}")
        return write


class ChoicesField(Section):
    """The choices of a multiple-choice item: a list in one field, or one column each."""

    field: str | None = None
    columns: list[str] = Field(default_factory=list)
    separator: str | None = None
    """Where the field is one string, what stands between two choices."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.field is None) == (not self.columns):
            raise ValueError("give either 'field' (a list) or 'columns' (one choice each)")
        return self


class ExtraField(Section):
    """A further field, carried into prompts and output."""

    separator: str | None = None
    """Set where the field is a list written as one string, e.g. '; '."""
    required: bool = False


def _as_field(value: Any) -> Any:
    return {"field": value} if isinstance(value, str) else value


def _as_extras(value: Any) -> Any:
    return {name: {} for name in value} if isinstance(value, list) else value


class FieldsConfig(Section):
    """Which fields of a row are what."""

    text: str = "text"
    label: Annotated[LabelField | None, BeforeValidator(_as_field)] = None
    choices: Annotated[ChoicesField | None, BeforeValidator(_as_field)] = None
    extras: Annotated[dict[str, ExtraField], BeforeValidator(_as_extras)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        clash = {"text", "label", "choices"} & set(self.extras)
        taken = {self.text} | ({self.label.field} if self.label else set())
        if clash - taken:
            raise ValueError(f"an extra field may not be called {sorted(clash)[0]!r}")
        if "_meta" in taken | set(self.extras):
            raise ValueError("no field may be called '_meta': that is where the engine keeps its record")
        if self.label is not None and self.label.field == self.text:
            raise ValueError(f"{self.text!r} cannot be both the text and the label")
        if taken & set(self.extras):
            raise ValueError(f"{sorted(taken & set(self.extras))[0]!r} is the text or the label already")
        return self


class DatasetConfig(Section):
    """The base dataset and what is said of it."""

    path: Path | None = None
    """Relative to the config file. May be absent where few_shot is 0."""
    format: Format | None = None
    """By the file's ending where absent."""
    description: str
    fields: FieldsConfig = FieldsConfig()
    constraints: tuple[WrittenConstraint, ...] = ()
    bad_rows: Literal["skip", "refuse"] = "skip"
    max_row_bytes: int = Field(default=1_000_000, ge=100)
    """A longer row is a bad row."""

    @field_validator("description")
    @classmethod
    def _says_something(cls, description: str) -> str:
        if not description.strip():
            raise ValueError("is empty; say in a sentence or two what the dataset is")
        return description.strip()

    @property
    def ratio(self) -> LabelRatio | None:
        return next((c for c in self.constraints if isinstance(c, LabelRatio)), None)


# --- generation ------------------------------------------------------------------------------------


class GenerateConfig(Section):
    """How new items are asked for."""

    target: int = Field(ge=1, le=1_000_000_000)
    """Accepted items wanted."""
    batch_size: int = Field(default=5, ge=1, le=1000)
    """Items asked for in one call."""
    few_shot: int = Field(default=5, ge=0, le=1000)
    """Examples from the base dataset in each prompt."""
    temperature: Temperature = 1.0
    """One value, or [low, high]: drawn anew for each batch."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most completion tokens of one call; 512 for each item asked for, and at least 1,024, where absent."""
    template: Path | None = None
    """Your own prompt template (Jinja, blocks 'system' and 'user'), relative to the config file."""

    selection: Selection = "random"
    """How a prompt's examples are chosen. 'clustered' and 'farthest' go by the base dataset's vectors."""
    balance: str = "label"
    """For 'balanced': 'label', or the field or attribute whose values are to be even among the examples."""
    attributes: Attributes = Field(default_factory=dict)
    """What new items are to be about: each batch is asked for with a value of each, evenly covered."""
    strategies: dict[str, StrategyConfig] = Field(default_factory=dict)
    """Several ways to ask, mixed by `strategy`; one, of the settings above, where there are none."""
    strategy: Literal["fixed", "adaptive"] = "fixed"
    """'adaptive' moves batches to the strategies that yield most accepted items per dollar."""
    floor: float = Field(default=0.1, gt=0, lt=1)
    """Of an adaptive mix: the share that is divided evenly among the strategies, whatever they yield."""

    @field_validator("temperature")
    @classmethod
    def _in_range(cls, value: Temperature) -> Temperature:
        return in_range(value)

    @model_validator(mode="after")
    def _strategies_differ(self) -> Self:
        check_attributes(self.attributes)
        if self.strategy == "adaptive" and len(self.ways) < 2:
            raise ValueError("strategy: adaptive needs attributes, or two strategies to choose between")
        return self

    @property
    def ways(self) -> dict[str, StrategyConfig]:
        """The strategies, by name. An adaptive mix without any weighs attribute guidance against none."""
        if self.strategies:
            return self.strategies
        if self.strategy == "adaptive" and self.attributes:
            return {"plain": StrategyConfig(attributes=False), "guided": StrategyConfig()}
        return {"only": StrategyConfig()}

    def selection_of(self, way: StrategyConfig) -> Selection:
        return way.selection or self.selection

    def few_shot_of(self, way: StrategyConfig) -> int:
        return self.few_shot if way.few_shot is None else way.few_shot

    @property
    def completion_limit(self) -> int:
        return self.max_tokens or max(1024, 512 * self.batch_size)


# --- model -----------------------------------------------------------------------------------------


SIMULATED_PRICE = PriceConfig(input=0.15, output=0.60, cached_input=0.075)
"""Pretended dollars of the simulated endpoint, so that cost and cap have something to show."""


OWN_FIELDS = frozenset(
    "model messages response_format temperature seed max_tokens max_completion_tokens n best_of stream".split()
)
"""Fields of the request's body that are the engine's."""


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("holds characters that no HTTP header may hold")
    return value


class PurposeModel(Section):
    """What differs from the main model for one purpose."""

    name: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    price: PriceConfig | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)


class ModelConfig(Section):
    """One OpenAI-compatible endpoint."""

    name: str
    base_url: str = "https://api.openai.com/v1"
    api_key: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    price: PriceConfig | None = None
    """From the genai-prices package where absent."""
    response_format: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    """'auto' starts with json_schema and steps down where the endpoint refuses it."""
    send_seed: bool = True
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request's body, as they are."""
    purposes: dict[str, PurposeModel] = Field(default_factory=dict)
    """Another model for some purposes (review, revision, program, fact_check ...): what differs from this one."""
    simulator: SimulatorConfig | None = None
    """Set, or with the name 'simulated': a simulated endpoint is started on loopback for the run."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not re.match(r"https?://[^/\s]+$|https?://[^/\s]+/\S*$", url):
            raise ValueError("must start with http:// or https:// and name a host")
        try:
            parts = urlsplit(url)
            known = parts.port is None or parts.port > 0
        except ValueError as error:
            raise ValueError(f"is no address: {error}") from None
        if parts.username is not None or not parts.hostname or not known:
            raise ValueError("must name a host, and no user or password: use api_key or headers for those")
        return url.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _one_line(cls, key: str | None) -> str | None:
        return _header_value(key.strip()) if key is not None else None

    @field_validator("headers")
    @classmethod
    def _headers_of_one_line(cls, headers: dict[str, str]) -> dict[str, str]:
        return {name: _header_value(value.strip()) for name, value in headers.items()}

    @field_validator("purposes")
    @classmethod
    def _purposes_are_models(cls, purposes: dict[str, PurposeModel]) -> dict[str, PurposeModel]:
        for purpose, other in purposes.items():
            if not other.model_fields_set:
                raise ValueError(f"{purpose!r} names nothing that differs")
            if other.base_url is not None:
                cls._is_http(other.base_url)
            if other.api_key is not None:
                cls._one_line(other.api_key)
            cls._not_ours(other.extra_body)
        return purposes

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(extra) & OWN_FIELDS):
            raise ValueError(f"may not set {taken[0]!r}: the engine sets it, and the budget rests on it")
        return extra

    @property
    def simulated(self) -> bool:
        return self.simulator is not None

    def for_purpose(self, purpose: str) -> ModelConfig:
        """The model that answers prompts of this purpose."""
        other = self.purposes.get(purpose)
        if other is None:
            return self
        given = {name: getattr(other, name) for name in other.model_fields_set}
        if "name" in given and "price" not in given and not self.simulated:
            given["price"] = None  # another model has another price
        return self.model_copy(update={**given, "purposes": {}})


def _as_model(value: Any) -> Any:
    if value == "simulated":
        value = {"name": "simulated"}
    if isinstance(value, dict) and (value.get("name") == "simulated" or value.get("simulator")):
        value = {"name": "simulated", "price": SIMULATED_PRICE.model_dump(), "simulator": {}, **value}
    return value


# --- limits ----------------------------------------------------------------------------------------


class LimitsConfig(Section):
    """What the run may take. These may change between two starts of one run."""

    concurrency: int = Field(default=64, ge=1, le=10_000)
    """Calls in flight at once."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    budget_usd: float | None = Field(default=None, gt=0, le=1e6)
    """The run's ceiling over all its starts."""
    attempts: float = Field(default=10.0, ge=1, le=1e6)
    """Items asked for, at most, for each item wanted."""
    retries: int = Field(default=6, ge=0)
    """Further attempts of one call; waiting for a rate limit does not count."""
    attempt_timeout_s: float = Field(default=120.0, gt=0)
    call_timeout_s: float = Field(default=600.0, gt=0)
    """One call with all its attempts and waits."""


class ValidatorConfig(Section):
    """One validator by its entry-point name, with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    workers: int | None = Field(default=None, ge=1)
    """Items looked at at once; limits.concurrency where absent."""


def _as_validator(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "name" in value:
        known = {key: item for key, item in value.items() if key in ("name", "workers")}
        given = value.get("options", {})
        rest = {key: item for key, item in value.items() if key not in ("name", "workers", "options")}
        return {**known, "options": {**given, **rest} if isinstance(given, dict) else given}
    return value


class RunConfig(Section):
    """One run, whole. `RunConfig.load(path)` reads a config file."""

    dataset: DatasetConfig
    generate: GenerateConfig
    model: Annotated[ModelConfig, BeforeValidator(_as_model)]
    limits: LimitsConfig = LimitsConfig()
    validators: tuple[Annotated[ValidatorConfig, BeforeValidator(_as_validator)], ...] = (
        ValidatorConfig(name="constraints"),
    )
    """In the order in which an item meets them."""
    groupcheck: Annotated[GroupCheckConfig | None, BeforeValidator(as_groupcheck)] = None
    embedding: EmbeddingConfig = EmbeddingConfig()
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.dataset.path is None:
            self._without_base()
        if self.dataset.constraints and self.dataset.fields.label is None:
            for constraint in self.dataset.constraints:
                about_label = getattr(constraint, "field", None) == "label"
                if about_label or isinstance(constraint, LabelIn | LabelRatio):
                    raise ValueError("dataset.constraints speak of a label and dataset.fields names none")
        known = {"text", *self.dataset.fields.extras}
        known |= {"label"} if self.dataset.fields.label is not None else set()
        known |= {"choices"} if self.dataset.fields.choices is not None else set()
        for constraint in self.dataset.constraints:
            if getattr(constraint, "field", "text") not in known:
                raise ValueError(
                    f"dataset.constraints speak of the field {constraint.field!r}; "
                    f"here it is one of {', '.join(sorted(known))}"
                )
        if sum(isinstance(c, LabelRatio) for c in self.dataset.constraints) > 1:
            raise ValueError("dataset.constraints holds more than one label_ratio")
        names = [validator.name for validator in self.validators]
        if len(set(names)) < len(names):
            raise ValueError("validators names one of them twice")
        return self

    def _without_base(self) -> None:
        """Raises ValueError where something needs a base dataset."""
        generate = self.generate
        if any(generate.few_shot_of(way) > 0 for way in generate.ways.values()):
            raise ValueError(
                "generate.few_shot is above 0 and there is no dataset.path to take examples from"
            )
        for name, attribute in generate.attributes.items():
            if attribute.field is not None or attribute.extract is not None:
                raise ValueError(
                    f"generate.attributes.{name} comes from the base dataset; there is no dataset.path"
                )

    def models(self) -> dict[str, ModelConfig]:
        """The models that answer single purposes in place of the main one."""
        found = {purpose: self.model.for_purpose(purpose) for purpose in self.model.purposes}
        endpoint = self.embedding.endpoint
        if endpoint is not None:
            found["embedding"] = self.model.model_copy(
                update={
                    "name": endpoint.name,
                    "base_url": endpoint.base_url or self.model.base_url,
                    "api_key": endpoint.api_key if endpoint.api_key is not None else self.model.api_key,
                    "price": endpoint.price,
                    "purposes": {},
                    "extra_body": {} if endpoint.dimensions is None else {"dimensions": endpoint.dimensions},
                }
            )
        return found

    _references: dict[str, str] = PrivateAttr(default_factory=dict)
    """Texts that came from the environment, and the `${NAME}` that stood there."""

    @classmethod
    def load(
        cls, path: Path | str, overrides: Mapping[str, Any] | None = None, *, lenient: bool = False
    ) -> RunConfig:
        """Read a YAML config. `overrides` maps dotted keys to values. Raises ConfigError.

        `lenient` is for looking at a run, not for running: variables that are not set are left as written.
        """
        config, references = config_file.read(cls, Path(path), overrides or {}, lenient=lenient)
        config._references = references
        return config

    def with_generate(self, generate: GenerateConfig) -> RunConfig:
        """The same run with another section `generate`."""
        copy = self.model_copy(update={"generate": generate})
        copy._references = self._references
        return copy

    def without_secrets(self) -> dict[str, Any]:
        """The resolved settings as plain values, fit to be written into a run folder."""
        return config_file.without_secrets(self.model_dump(mode="json"), self._references)


OPERATIONAL = (
    "generate.target",
    "limits",
    "model.base_url",
    "model.api_key",
    "model.headers",
    "model.price",
    "model.purposes.*.base_url",
    "model.purposes.*.api_key",
    "model.purposes.*.price",
    "model.simulator",
    "validators.*.workers",
    "embedding.cache",
    "embedding.endpoint.base_url",
    "embedding.endpoint.api_key",
    "embedding.endpoint.price",
    "embedding.endpoint.inputs",
    "embedding.endpoint.in_flight",
    "groupcheck.index",
)
"""What may differ between two starts of one run; everything else is the run's identity."""
