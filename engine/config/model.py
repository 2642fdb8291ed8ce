"""Model endpoints: address, key, price, limits, and overrides for single purposes."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from engine.config.markers import FreeForm, NotSecret, Operational, Secret
from engine.config.parts import PriceConfig, Section
from engine.config.simulator import SIMULATED_PRICE, SimulatorConfig

OWN_FIELDS = frozenset(
    "model messages system tools tool_choice response_format temperature seed max_tokens max_completion_tokens"
    " n best_of stream stream_options".split()
)
"""Fields of the request's body that only the engine may set."""


PURPOSES = (
    "items attributes review revision program same_answer entities fact_check constraint_check"
    " enhancement_plan enhancement answer judgement lessons embedding agree label preference"
    " adherence grounding closed_book answerable map candidates"
).split()
"""Purposes of the prompts of the engine and its own validators; third-party validators may add more."""
Api = Literal["openai", "azure", "anthropic"]
"""The API of an endpoint: OpenAI's chat completions, Azure's deployments, Anthropic's messages."""
ADDRESSES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}


ServiceTier = Literal["auto", "default", "flex", "priority"]
BatchApi = Literal["openai", "azure", "groq", "mistral", "together", "anthropic", "gemini", "files", "none"]
"""The batch API of an endpoint; `files`: what a program of one's own, such as `vllm run-batch`, reads and writes."""


def _header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("holds characters that no HTTP header may hold")
    return value


class EndpointLimits(Section):
    """Limits of one endpoint; the run's `limits` apply to all endpoints together."""

    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)


class ReasoningConfig(Section):
    """How a model that reasons before it answers is asked, and what it is allowed."""

    effort: str | None = Field(default=None, pattern=r"^[a-z]+$")
    """Sent as `reasoning_effort`: none, minimal, low, medium, high, ... as the model knows it."""
    tokens: int | None = Field(default=None, ge=0, le=1_000_000)
    """Allowed for reasoning, in addition to the answer's; found out from the replies where absent.
    With `api: anthropic`, thinking is turned on with this budget."""
    keep: bool = False
    """Whether the journal keeps what the model thought, where the endpoint passes it on."""


class PurposeModel(Section):
    """The settings in which the model for one purpose differs from the main model."""

    name: Annotated[str | None, NotSecret("a model's name")] = None
    api: Annotated[Api | None, Operational()] = None
    api_version: Annotated[str | None, Operational(), NotSecret("a version")] = None
    deployment: Annotated[str | None, Operational(), NotSecret("a model's name")] = None
    base_url: Annotated[str | None, Operational()] = None
    api_key: Annotated[str | None, Secret(), Operational()] = None
    """Where absent, another host gets no key: the main model's key is only for the main model's host."""
    price: Annotated[PriceConfig | None, Operational()] = None
    service_tier: Annotated[ServiceTier | None, Operational()] = None
    batch: Annotated[BatchApi | None, Operational()] = None
    reasoning: Annotated[ReasoningConfig, Operational()] = ReasoningConfig()
    limits: Annotated[EndpointLimits, Operational()] = EndpointLimits()
    extra_body: Annotated[dict[str, Any], FreeForm()] = Field(default_factory=dict)


def kind_of(value: Any) -> str:
    """The tag by which pydantic chooses between one endpoint and several."""
    return "several endpoints" if isinstance(value, list | tuple) else "one endpoint"


def _as_purpose(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    """Settings are read strictly, and what a file holds is a list."""
    return tuple(value) if isinstance(value, list) else value


_Purpose = Annotated[PurposeModel, BeforeValidator(_as_purpose)]
PurposeModels = Annotated[
    Annotated[_Purpose, Tag("one endpoint")]
    | Annotated[tuple[_Purpose, ...], BeforeValidator(_as_tuple), Tag("several endpoints")],
    Discriminator(kind_of),
]
"""The model for a purpose; several, where whoever asks wants answers of different ones."""


class ModelConfig(Section):
    """One endpoint. A list configures several; each call goes to the one that can accept it soonest."""

    name: Annotated[str, NotSecret("a model's name")]
    api: Annotated[Api, Operational()] = "openai"
    api_version: Annotated[str | None, Operational(), NotSecret("a version")] = None
    """Azure's `api-version`, or Anthropic's `anthropic-version`; the engine's default where absent."""
    deployment: Annotated[str | None, Operational(), NotSecret("a model's name")] = None
    """Azure: the deployment's name, where it differs from the model's."""
    entra: Annotated[bool, Operational()] = False
    """Azure: use tokens of Microsoft Entra ID (package azure-identity) instead of a key."""
    base_url: Annotated[str, Operational()] = ADDRESSES["openai"]
    api_key: Annotated[str | None, Secret(), Operational()] = None
    weight: Annotated[float, Operational()] = Field(default=1.0, gt=0, le=1000)
    """With several endpoints: how many calls this one has in flight per call of an endpoint of weight 1."""
    limits: Annotated[EndpointLimits, Operational()] = EndpointLimits()
    headers: Annotated[dict[str, str], Secret(), Operational()] = Field(default_factory=dict)
    service_tier: Annotated[ServiceTier | None, Operational()] = None
    """Sent where set, and priced so: 'flex' costs half where the provider has it, and may take 15 minutes."""
    flex_fallback: Annotated[bool, Operational()] = False
    """Whether a call for which the flex tier has no room is sent at the standard price instead of again later."""
    batch: Annotated[BatchApi | None, Operational()] = None
    """Whose batch API the endpoint has, for `limits.mode`; told by its host where absent."""
    reasoning: Annotated[ReasoningConfig, Operational()] = ReasoningConfig()
    price: Annotated[PriceConfig | None, Operational()] = None
    """From the genai-prices package where absent."""
    response_format: Annotated[Literal["auto", "json_schema", "json_object", "none"], Operational()] = "auto"
    """'auto' starts with json_schema and steps down where the endpoint refuses it."""
    send_seed: Annotated[bool, Operational()] = True
    extra_body: Annotated[dict[str, Any], FreeForm()] = Field(default_factory=dict)
    """Further fields of the request's body, sent unchanged."""
    purposes: dict[str, PurposeModels] = Field(default_factory=dict)
    """Models for single purposes (review, revision, program ...): the settings that differ from this one.

    A list names several, for `agree` and `program`, which ask them in turn."""
    simulator: Annotated[SimulatorConfig | None, Operational()] = None
    """If set, or if the name is 'simulated', the run starts a simulated endpoint on loopback."""

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
    def _purposes_are_models(cls, purposes: dict[str, PurposeModels]) -> dict[str, PurposeModels]:
        for purpose, given in purposes.items():
            check_purpose(purpose)
            if isinstance(given, tuple) and purpose in PURPOSES and purpose not in OF_SEVERAL:
                raise ValueError(f"{purpose!r} takes one model; several are for {' and '.join(OF_SEVERAL)}")
            if given == ():
                raise ValueError(f"{purpose!r} names no model")
            for other in listed(given):
                cls._differs(purpose, other, alone=given is other)
        return purposes

    @classmethod
    def _differs(cls, purpose: str, other: PurposeModel, *, alone: bool) -> None:
        if alone and not other.model_fields_set:
            raise ValueError(f"{purpose!r} sets nothing that differs from the main model")
        if not alone and other.name is None:
            raise ValueError(f"{purpose!r}: one of several models needs a name")
        if other.base_url is not None:
            cls._is_http(other.base_url)
        if other.api_key is not None:
            cls._one_line(other.api_key)
        cls._not_ours(other.extra_body)

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(extra) & OWN_FIELDS):
            raise ValueError(f"may not set {taken[0]!r}: the engine sets it, and the budget depends on it")
        return extra

    @model_validator(mode="before")
    @classmethod
    def _own_address(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("base_url") is None and given.get("api") in ADDRESSES:
            return {**given, "base_url": ADDRESSES[given["api"]]}
        return given

    @model_validator(mode="after")
    def _speaks(self) -> Self:
        if self.api == "azure" and self.base_url == ADDRESSES["openai"] and not self.simulated:
            raise ValueError(
                "with api: azure, base_url must be the resource's, https://NAME.openai.azure.com"
            )
        if self.api == "anthropic" and self.reasoning.effort is not None:
            raise ValueError(
                "reasoning.effort is for OpenAI's API; with api: anthropic, set reasoning.tokens"
            )
        if self.api == "anthropic" and self.service_tier == "flex":
            raise ValueError("service_tier: flex is not offered by Anthropic; use default or priority")
        if self.flex_fallback and self.service_tier != "flex":
            raise ValueError("flex_fallback is for service_tier: flex")
        if self.entra and (self.api != "azure" or self.api_key is not None):
            raise ValueError("entra: true is for api: azure, in place of an api_key")
        return self

    @property
    def pinned_tier(self) -> str:
        """The service tier that is asked for; '' where the provider chooses."""
        return self.service_tier or str(self.extra_body.get("service_tier") or "")

    @property
    def simulated(self) -> bool:
        return self.simulator is not None

    def for_purposes(self) -> dict[str, ModelConfig]:
        """The models for single purposes, by route: the purpose, with the model's name where there are several."""
        routes: dict[str, ModelConfig] = {}
        for purpose, given in self.purposes.items():
            if isinstance(given, PurposeModel):
                routes[purpose] = self._differing(given)
                continue
            for name, other in zip(names_of(given), given, strict=True):
                routes[f"{purpose}@{name}"] = self._differing(other)
        if "items" in routes:  # whoever writes the items is whose labels are measured
            routes.setdefault("label", routes["items"])
        return routes

    def _differing(self, other: PurposeModel) -> ModelConfig:
        given = {name: getattr(other, name) for name in other.model_fields_set}
        api = other.api or self.api
        if "base_url" not in given and api != self.api:
            given["base_url"] = ADDRESSES.get(api, self.base_url)
        if elsewhere(given.get("base_url") or self.base_url, self.base_url):
            given = {**KEYLESS, **given}
            given.setdefault("limits", EndpointLimits())
            given.setdefault("extra_body", {})  # another host has other fields
        if given.get("name", self.name) != self.name:
            given.setdefault("limits", EndpointLimits())  # another model has limits of its own
        if "name" in given and "price" not in given and not self.simulated:
            given["price"] = None  # another model has another price
        return self.model_copy(update={**given, "purposes": {}})


OF_SEVERAL = ("agree", "program")
"""The purposes that several models can serve: each answers by itself."""


def listed(given: PurposeModel | tuple[PurposeModel, ...]) -> tuple[PurposeModel, ...]:
    return given if isinstance(given, tuple) else (given,)


def names_of(models: tuple[PurposeModel, ...]) -> list[str]:
    """A name for each; of several with the same, the later ones are numbered."""
    names: list[str] = []
    for model in models:
        name, number = str(model.name), 1
        while name in names:
            number += 1
            name = f"{model.name} ({number})"
        names.append(name)
    return names


def check_purpose(purpose: str) -> None:
    """Raises ValueError for a likely misspelling of ours; other names pass: validators may add purposes."""
    close = difflib.get_close_matches(purpose, PURPOSES, 1, 0.75)
    if close and not purpose.startswith("map_") and purpose not in PURPOSES:
        raise ValueError(f"nothing asks for {purpose!r}; did you mean {close[0]!r}?")


KEYLESS: dict[str, Any] = {"api_key": None, "headers": {}, "entra": False}
"""Removes all credentials: only the main model's host may receive them."""


def elsewhere(address: str, other: str) -> bool:
    """Whether the two addresses differ in host or protocol."""
    first, second = urlsplit(address), urlsplit(other)
    return (first.scheme, first.netloc) != (second.scheme, second.netloc)


def as_model(value: Any) -> Any:
    if isinstance(value, ModelConfig) and value.name == "simulated" and value.simulator is None:
        value = value.model_dump(exclude_unset=True)  # of a program
    if value == "simulated":
        value = {"name": "simulated"}
    if isinstance(value, dict) and "simulated" in value and "simulator" not in value:
        value = {"simulator" if name == "simulated" else name: knobs for name, knobs in value.items()}
    if isinstance(value, dict) and (value.get("name") == "simulated" or value.get("simulator")):
        if value.get("base_url") not in (None, ADDRESSES["openai"], ADDRESSES["anthropic"]):
            raise ValueError(
                "base_url has no effect beside a simulated endpoint, which has an address of its own: leave it out, or "
                "name the model that answers there"
            )
        value = {"name": "simulated", "price": SIMULATED_PRICE.model_dump(), "simulator": {}, **value}
        knobs = value["simulator"]
        dialect = knobs.get("dialect") if isinstance(knobs, dict) else None
        if dialect in ("anthropic", "azure"):
            value = {"api": dialect, **value}
    return value
