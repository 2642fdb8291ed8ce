"""The whole config of a run: all sections together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from engine.config.authors import Translation
from engine.config.dataset import DatasetConfig, FieldsConfig
from engine.config.diversity import EmbeddingConfig, EmbeddingEndpoint, GroupCheckConfig, as_groupcheck
from engine.config.documents import DocumentsConfig
from engine.config.evaluate import EvaluateConfig
from engine.config.file import read
from engine.config.generate import GenerateConfig
from engine.config.mapping import CHOSEN, REJECTED, MapConfig
from engine.config.markers import ByContent, FreeForm, NotSecret, Operational, PathFrom
from engine.config.model import (
    KEYLESS,
    EndpointLimits,
    ModelConfig,
    as_model,
    check_purpose,
    elsewhere,
    kind_of,
    names_of,
)
from engine.config.observe import ObserveConfig
from engine.config.parts import PriceConfig, Section
from engine.config.place import Place
from engine.config.quality import QualityConfig
from engine.config.secrets import without_secrets
from engine.config.spread import SpreadConfig
from engine.config.trust import allowed_file, is_allowed
from engine.constraints import LabelIn, LabelRatio
from engine.errors import ConfigError

ASSUMED_CONCURRENCY = 64
"""The concurrency that plans and estimates use where none is set."""
MOST_IN_FLIGHT = 512
"""The upper limit of the search for the best concurrency where none is set."""
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


class HedgeConfig(Section):
    """A second attempt for a slow call: the first answer is used, and both attempts are paid for."""

    after: float = Field(default=0.95, ge=0.5, lt=1)
    """A second attempt starts at this quantile of the latencies of calls for the same purpose."""
    most: float = Field(default=0.05, gt=0, le=0.5)
    """Most second attempts, as a share of all calls."""


def _as_hedge(value: Any) -> Any:
    return {} if value is True else None if value is False else value


def _as_clock(value: Any) -> Any:
    """YAML reads 17:00 without quotes as 1020, the minutes since midnight."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60
    return f"{value // 60:02}:{value % 60:02}" if whole else value


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def _as_seconds(value: Any) -> Any:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None and isinstance(value, str):
        raise ValueError("must be seconds, or a text such as '90m' or '6h'")
    return float(match[1]) * _UNITS[match[2]] if match is not None else value


class BatchConfig(Section):
    """How calls travel in batches of a provider, which answers within a day, at half the price."""

    part: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most calls of one batch; where absent, as many as the provider takes."""
    least: int = Field(default=300, ge=1)
    """`mode: auto`: fewer calls than these are not worth a batch's wait."""
    pilot: int = Field(default=20, ge=1, le=10_000)
    """`mode: auto`: requests for items that are made online at first, with all that their items need."""
    wait: Annotated[float, BeforeValidator(_as_seconds)] = Field(default=86_400.0, ge=60, le=7 * 86_400)
    """Seconds, or a text such as '6h', after which a batch is cancelled and what it has answered is collected."""


class LimitsConfig(Section):
    """The limits of the run. They may change between two starts of one run."""

    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Most calls in flight, fewer if an endpoint asks for it or queues them; determined where absent."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    budget_usd: float | None = Field(default=None, gt=0, le=1e6)
    """The most that all starts of the run together may spend."""
    attempts: float = Field(default=10.0, ge=1, le=1e6)
    """Most items requested for each item wanted."""
    retries: int = Field(default=6, ge=0)
    """Further attempts of one call; waits for a rate limit or for an endpoint that is down do not count."""
    attempt_timeout_s: float = Field(default=120.0, gt=0)
    """Upper limit; after enough answers, the timeout is four times the 99th percentile of their latency."""
    call_timeout_s: float = Field(default=600.0, gt=0)
    """Limit for a call's failed attempts and the rests between them; its time in the queue does not count."""
    failed_calls: Literal["free", "charged"] | None = None
    """Whether attempts that an endpoint answers with a failure (500) are on the bill. Where absent: free at providers
    that are known, charged at the most that they can cost anywhere else."""
    outage_s: float = Field(default=3600.0, gt=0)
    """How long an endpoint that has answered may be down before the run stops; it can be resumed."""
    first_answer_s: float = Field(default=30.0, gt=0)
    """The same for an endpoint that has not yet answered in this start."""
    least_acceptance: float = Field(default=0.02, ge=0, le=1)
    """The run stops early if a smaller share of the last `acceptance_window` items is accepted; 0: never."""
    acceptance_window: int = Field(default=500, ge=20)
    drain_s: float = Field(default=30.0, gt=0)
    """Seconds that calls in flight may take to finish after Ctrl-C or SIGTERM; then they are given up."""
    hedge: Annotated[HedgeConfig | None, BeforeValidator(_as_hedge)] = None
    """`true` uses the defaults."""
    finish_by: Annotated[str | None, BeforeValidator(_as_clock)] = None
    """A local time of day, 'HH:MM': new work is spread until then instead of done as fast as possible."""
    mode: Literal["online", "batch", "auto"] = "online"
    """Calls are made at once; in batches, at half the price; or in batches with a first and a last part online."""
    batch: BatchConfig = BatchConfig()
    share: Literal["process", "machine"] = "process"
    """Who shares the rates: 'machine' means all runs of this user with the same endpoint and key."""

    @field_validator("finish_by")
    @classmethod
    def _time_of_day(cls, value: str | None) -> str | None:
        if value is not None and not _CLOCK.fullmatch(value):
            raise ValueError("must be a time of day in quotes, such as '07:00'")
        return value

    @model_validator(mode="after")
    def _waits(self) -> Self:
        if self.mode != "online" and self.hedge is not None:
            raise ValueError(
                f"hedge is for calls whose answer is waited for, and mode: {self.mode} waits for none"
            )
        if self.mode == "batch" and self.finish_by is not None:
            raise ValueError("finish_by cannot be kept with mode: batch; mode: auto ends online in time")
        return self

    @property
    def most_in_flight(self) -> int:
        return self.concurrency or MOST_IN_FLIGHT


class ValidatorConfig(Section):
    """One validator: its entry-point name and its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    workers: Annotated[int | None, Operational()] = Field(default=None, ge=1)
    """Items that it checks at the same time; limits.concurrency where absent."""


def _as_validator(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        [(name, options)] = value.items()  # {grounded: {judge: 1.0}}
        return {"name": name, "options": options or {}}
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
    """The whole config of a run. `RunConfig.load(path)` reads a config file."""

    dataset: Annotated[DatasetConfig, NotSecret("it stands in prompts and items")]
    documents: Annotated[DocumentsConfig | None, NotSecret("it stands in prompts and items")] = None
    """What items are made from, where that is passages of documents."""
    generate: Annotated[GenerateConfig, NotSecret("it stands in prompts and items")] = GenerateConfig()
    map: Annotated[MapConfig | None, NotSecret("it stands in prompts and items")] = None
    """For `datagen map`: what is asked for each row."""
    model: Annotated[_One | _Several, Discriminator(kind_of)]
    """One endpoint, or a list of them."""
    limits: Annotated[LimitsConfig, Operational()] = LimitsConfig()
    validators: Annotated[
        tuple[Annotated[ValidatorConfig, BeforeValidator(_as_validator)], ...],
        FreeForm(),
        PathFrom(named="path"),
    ] = (ValidatorConfig(name="constraints"),)
    """In the order in which they check an item."""
    groupcheck: Annotated[GroupCheckConfig | None, BeforeValidator(as_groupcheck)] = None
    embedding: EmbeddingConfig = EmbeddingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    quality: QualityConfig = QualityConfig()
    spread: Annotated[SpreadConfig, Operational()] = SpreadConfig()
    observe: Annotated[ObserveConfig, Operational()] = ObserveConfig()
    max_tokens: Annotated[dict[str, Annotated[int, Field(ge=1)]], Operational()] = Field(default_factory=dict)
    """The longest answer by purpose (review, entities, same_answer ...), in tokens, without reasoning; for items:
    generate.max_tokens."""
    prompts: Annotated[dict[str, Path], PathFrom(), ByContent(), NotSecret("paths")] = Field(
        default_factory=dict
    )
    """Your own prompt templates by purpose, replacing the built-in ones; for items: generate.template."""
    public_variables: Annotated[tuple[str, ...], Operational()] = ()
    """Environment variables whose values may be shown; any other `${NAME}` is taken for a secret."""
    seed: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("prompts")
    @classmethod
    def _known_purposes(cls, prompts: dict[str, Path]) -> dict[str, Path]:
        for purpose in prompts:
            if purpose == "items":
                raise ValueError("the template for new items is generate.template")
            check_purpose(purpose)
        return prompts

    @field_validator("max_tokens")
    @classmethod
    def _known_ceilings(cls, ceilings: dict[str, int]) -> dict[str, int]:
        for purpose in ceilings:
            if purpose == "items":
                raise ValueError("the longest answer for new items is generate.max_tokens")
            check_purpose(purpose)
        return ceilings

    @model_validator(mode="after")
    def _from_documents(self) -> Self:
        """Of a passage, one item is asked for at a time, so that all have their turn; examples need a base dataset."""
        if self.documents is None:
            return self
        usual = {"batch_size": 1, **({"few_shot": 0} if self.dataset.path is None else {})}
        missing = {name: value for name, value in usual.items() if name not in self.generate.model_fields_set}
        if missing:
            object.__setattr__(self, "generate", self.generate.model_copy(update=missing))
        return self

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
        if self.limits.mode != "online" and (learner := self._learner()) is not None:
            raise ValueError(
                f"{learner} needs the outcomes of earlier requests while it plans the next ones, and limits.mode: "
                f"{self.limits.mode} has them hours later; use limits.mode: online, or leave it out"
            )
        names = [validator.name for validator in self.validators]
        if len(set(names)) < len(names):
            raise ValueError("validators names one of them twice")
        return self

    def _learner(self) -> str | None:
        """The setting by which a request depends on what became of earlier ones, if there is one."""
        if self.generate.learn_from_mistakes is not None:
            return "generate.learn_from_mistakes"
        if self.generate.strategy == "adaptive":
            return "generate.strategy: adaptive"
        if self.groupcheck is not None and self.groupcheck.on_duplicate == "retry":
            return "groupcheck.on_duplicate: retry"
        return None

    @property
    def item_fields(self) -> FieldsConfig:
        """How the run's items are written: as those of the dataset, or as pairs of what was asked for its rows."""
        fields = self.dataset.fields
        if self.map is None or self.map.keep != "pair":
            return fields
        pair: dict[str, Any] = {"label": None, "labels": {}, "choices": None, "solution": None, "extras": {}}
        return fields.model_copy(update={**pair, "chosen": CHOSEN, "rejected": REJECTED})

    @property
    def endpoints(self) -> tuple[ModelConfig, ...]:
        """The endpoints for all purposes that have no model of their own."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    @property
    def main(self) -> ModelConfig:
        """The first endpoint."""
        return self.endpoints[0]

    def purpose_models(self) -> dict[str, ModelConfig]:
        """The models that replace the main ones for single purposes."""
        models = self.main.for_purposes()
        if self.embedding.endpoint is not None:
            models["embedding"] = self._embedding_model(self.embedding.endpoint)
        return models

    def models_for(self, purpose: str) -> tuple[str, ...]:
        """The names of the models that answer a purpose in turn; empty where there are not several."""
        given = self.main.purposes.get(purpose)
        return tuple(names_of(given)) if isinstance(given, tuple) else ()

    def _embedding_model(self, endpoint: EmbeddingEndpoint) -> ModelConfig:
        """The embedding endpoint as a model; uses the main model's address and key where it has none."""
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
    """Texts that came from the environment, each with its `${NAME}` in the file."""
    _secrets: dict[str, str] = PrivateAttr(default_factory=dict)
    """Values from the environment that may be secret, likewise."""

    @classmethod
    def load(
        cls,
        path: Path | str,
        overrides: Mapping[str, Any] | None = None,
        *,
        lenient: bool = False,
        allow_code: bool = False,
    ) -> RunConfig:
        """Read a YAML config. `overrides` maps dotted keys to values. Raises ConfigError.

        `lenient` is for inspecting a run, not for running it: variables that are not set stay as written.
        A config that names code to run is refused, unless the user has allowed that code or `allow_code` is set.
        """
        parsed = read(cls, Path(path), overrides or {}, lenient=lenient)
        config = parsed.settings
        config._references, config._translation = parsed.references, parsed.translation
        config._place, config._secrets = parsed.place, parsed.secrets
        for key, code in config.code():
            if not (lenient or allow_code or is_allowed(code, key, overrides or ())):
                raise config.wrong(
                    key,
                    f"would run the code of {code}. Where you trust it, add --allow-code, or put the line "
                    f"'{code}' into {allowed_file()}",
                )
        return config

    def code(self) -> Iterator[tuple[str, str]]:
        """The keys that name code to run, each with what it names."""
        if self.embedding.function is not None:
            yield "embedding.function", self.embedding.function
        if self.observe.notify is not None and self.observe.notify.command is not None:
            yield "observe.notify.command", self.observe.notify.command

    def wrong(self, key: str, said: str) -> ConfigError:
        """An error for a mistake that only shows in use: the key, its place in the file, the reason."""
        return ConfigError(f"{self._place.describe(tuple(key.split('.')))}: {said}")

    def changed(self, **sections: Any) -> RunConfig:
        """A copy of this config with these sections replaced."""
        return self.model_copy(update=sections)

    @property
    def tested(self) -> tuple[str, ...]:
        """The names of the models under test: the main one where `evaluate` names none."""
        return tuple(model.called for model in self.evaluate.models) or (self.main.name,)

    def translation(self) -> tuple[dict[str, Any], list[str]] | None:
        """For a config of the authors' code: our settings without secrets, and the notes; otherwise None."""
        if self._translation is None:
            return None
        return without_secrets(type(self), self._translation.settings, {}), self._translation.notes

    def without_secrets(self) -> dict[str, Any]:
        """The resolved settings as plain values, safe to write into a run folder."""
        settings = self.model_dump(mode="json")
        return without_secrets(type(self), settings, self._references, self._secrets)
