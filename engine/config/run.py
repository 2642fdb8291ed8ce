"""One run, whole: the sections together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from engine.config.authors import Translation
from engine.config.dataset import DatasetConfig
from engine.config.diversity import EmbeddingConfig, EmbeddingEndpoint, GroupCheckConfig, as_groupcheck
from engine.config.evaluate import EvaluateConfig
from engine.config.file import read
from engine.config.generate import GenerateConfig
from engine.config.markers import ByContent, FreeForm, Operational, PathFrom
from engine.config.model import (
    KEYLESS,
    EndpointLimits,
    ModelConfig,
    as_model,
    check_purpose,
    elsewhere,
    kind_of,
)
from engine.config.observe import ObserveConfig
from engine.config.parts import PriceConfig, Section
from engine.config.place import Place
from engine.config.secrets import without_secrets
from engine.constraints import LabelIn, LabelRatio
from engine.errors import ConfigError

ASSUMED_CONCURRENCY = 64
"""What plans and estimates go by where no concurrency is set."""
MOST_IN_FLIGHT = 512
"""How far the search for the right concurrency goes where none is set."""
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


class HedgeConfig(Section):
    """A second attempt for a call that takes long; the first answer counts, the other attempt is paid too."""

    after: float = Field(default=0.95, ge=0.5, lt=1)
    """Of calls for the same purpose, so many were answered by then."""
    most: float = Field(default=0.05, gt=0, le=0.5)
    """Second attempts for each call, at most."""


def _as_hedge(value: Any) -> Any:
    return {} if value is True else None if value is False else value


def _as_clock(value: Any) -> Any:
    """17:00 without quotes is 1020 to YAML: minutes."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60
    return f"{value // 60:02}:{value % 60:02}" if whole else value


class LimitsConfig(Section):
    """What the run may take. These may change between two starts of one run."""

    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Most calls in flight at once. Fewer where an endpoint asks for it or only queues them; where absent, found."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    budget_usd: float | None = Field(default=None, gt=0, le=1e6)
    """The run's ceiling over all its starts."""
    attempts: float = Field(default=10.0, ge=1, le=1e6)
    """Items asked for, at most, for each item wanted."""
    retries: int = Field(default=6, ge=0)
    """Further attempts of one call; waiting for a rate limit, or for an endpoint that is down, does not count."""
    attempt_timeout_s: float = Field(default=120.0, gt=0)
    """The most; once enough answers have been seen, four times what 99 % of them took."""
    call_timeout_s: float = Field(default=600.0, gt=0)
    """A call's failed attempts and its rests between them; its waits in line are not counted."""
    outage_s: float = Field(default=3600.0, gt=0)
    """How long an endpoint that has answered may be down before the run stops, resumable."""
    first_answer_s: float = Field(default=30.0, gt=0)
    """How long one may be down that has never answered in this start."""
    least_acceptance: float = Field(default=0.02, ge=0, le=1)
    """The run stops early where fewer of the last `acceptance_window` items were accepted; 0 never."""
    acceptance_window: int = Field(default=500, ge=20)
    hedge: Annotated[HedgeConfig | None, BeforeValidator(_as_hedge)] = None
    """`true` is for its defaults."""
    finish_by: Annotated[str | None, BeforeValidator(_as_clock)] = None
    """A time of day, 'HH:MM', local: new work is spread until then rather than done as fast as may be."""
    share: Literal["process", "machine"] = "process"
    """With whom the rates are shared: 'machine' is all runs of this user on the same endpoint with the same key."""

    @field_validator("finish_by")
    @classmethod
    def _time_of_day(cls, value: str | None) -> str | None:
        if value is not None and not _CLOCK.fullmatch(value):
            raise ValueError("must be a time of day in quotes, such as '07:00'")
        return value

    @property
    def most_in_flight(self) -> int:
        return self.concurrency or MOST_IN_FLIGHT


class ValidatorConfig(Section):
    """One validator by its entry-point name, with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    workers: Annotated[int | None, Operational()] = Field(default=None, ge=1)
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


_Model = Annotated[ModelConfig, BeforeValidator(as_model)]
_One = Annotated[_Model, Tag("one endpoint")]
_Several = Annotated[tuple[_Model, ...], Tag("several endpoints")]


class RunConfig(Section):
    """One run, whole. `RunConfig.load(path)` reads a config file."""

    dataset: DatasetConfig
    generate: GenerateConfig = GenerateConfig()
    model: Annotated[_One | _Several, Discriminator(kind_of)]
    """One endpoint, or a list of them."""
    limits: Annotated[LimitsConfig, Operational()] = LimitsConfig()
    validators: Annotated[
        tuple[Annotated[ValidatorConfig, BeforeValidator(_as_validator)], ...],
        FreeForm(),
        PathFrom(named="path"),
    ] = (ValidatorConfig(name="constraints"),)
    """In the order in which an item meets them."""
    groupcheck: Annotated[GroupCheckConfig | None, BeforeValidator(as_groupcheck)] = None
    embedding: EmbeddingConfig = EmbeddingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    observe: Annotated[ObserveConfig, Operational()] = ObserveConfig()
    prompts: Annotated[dict[str, Path], PathFrom(), ByContent()] = Field(default_factory=dict)
    """Your own prompt templates by purpose, in place of the built-in ones; for new items, see generate.template."""
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("prompts")
    @classmethod
    def _known_purposes(cls, prompts: dict[str, Path]) -> dict[str, Path]:
        for purpose in prompts:
            if purpose == "items":
                raise ValueError("the template for new items is generate.template")
            check_purpose(purpose)
        return prompts

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.endpoints:
            raise ValueError("model: the list names no endpoint")
        if any(endpoint.purposes for endpoint in self.endpoints[1:]):
            raise ValueError("model: purposes stand with the first of several endpoints")
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

    @property
    def endpoints(self) -> tuple[ModelConfig, ...]:
        """Those that answer whatever is not another model's purpose."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    @property
    def main(self) -> ModelConfig:
        """The first endpoint."""
        return self.endpoints[0]

    def purpose_models(self) -> dict[str, ModelConfig]:
        """The models that answer single purposes in place of the main ones."""
        main = self.main
        found = {purpose: main.for_purpose(purpose) for purpose in main.purposes}
        if self.embedding.endpoint is not None:
            found["embedding"] = self._embedding_model(self.embedding.endpoint)
        return found

    def _embedding_model(self, endpoint: EmbeddingEndpoint) -> ModelConfig:
        """Address and key are the main model's where the config names none."""
        main, price = self.main, endpoint.price
        address = endpoint.base_url or main.base_url
        keyless = KEYLESS if elsewhere(address, main.base_url) else {}
        return main.model_copy(
            update={
                **keyless,
                "name": endpoint.name,
                "base_url": address,
                "api_key": endpoint.api_key or (None if keyless else main.api_key),
                "price": price and PriceConfig(input=price.input, output=0, per_call=price.per_call),
                "purposes": {},
                "api": "azure" if main.api == "azure" else "openai",
                "limits": EndpointLimits(),
                "extra_body": {} if endpoint.dimensions is None else {"dimensions": endpoint.dimensions},
            }
        )

    _translation: Translation | None = PrivateAttr(default=None)
    _place: Place = PrivateAttr(default=Place("the config"))
    _references: dict[str, str] = PrivateAttr(default_factory=dict)
    """Texts that came from the environment, and the `${NAME}` that stood there."""

    @classmethod
    def load(
        cls, path: Path | str, overrides: Mapping[str, Any] | None = None, *, lenient: bool = False
    ) -> RunConfig:
        """Read a YAML config. `overrides` maps dotted keys to values. Raises ConfigError.

        `lenient` is for looking at a run, not for running: variables that are not set are left as written.
        """
        found = read(cls, Path(path), overrides or {}, lenient=lenient)
        config = found.settings
        config._references, config._translation = found.references, found.translation
        config._place = found.place
        return config

    def wrong(self, key: str, said: str) -> ConfigError:
        """For a mistake that only the use of the config shows: the key, its place in the file, and what is wrong."""
        return ConfigError(f"{self._place.describe(tuple(key.split('.')))}: {said}")

    def changed(self, **sections: Any) -> RunConfig:
        """The same run with other sections."""
        copy = self.model_copy(update=sections)
        copy._references, copy._place = self._references, self._place
        return copy

    @property
    def tested(self) -> tuple[str, ...]:
        """What the models that are tested are called: the main one, where no others are named."""
        return tuple(model.called for model in self.evaluate.models) or (self.main.name,)

    def translation(self) -> tuple[dict[str, Any], list[str]] | None:
        """Of a config of the authors' own code: its settings in ours, without secrets, and what became of its keys."""
        if self._translation is None:
            return None
        return without_secrets(type(self), self._translation.settings, {}), self._translation.notes

    def without_secrets(self) -> dict[str, Any]:
        """The resolved settings as plain values, fit to be written into a run folder."""
        return without_secrets(type(self), self.model_dump(mode="json"), self._references)
