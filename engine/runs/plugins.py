"""Finds validators by entry point, creates them with the config's options, opens and describes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from engine.config import RunConfig
from engine.config.dataset import wire_name
from engine.config.installed import installed_validators
from engine.config.paths import user_cache
from engine.dataset.fields import Fields
from engine.documents.shelf import Shelf
from engine.errors import ConfigError, Defect, EngineError
from engine.prompts.ask import ModelAsker
from engine.prompts.replies import object_in
from engine.protocols import Ask, Described, Tally, Tools, Validator
from engine.stages.meter import Meter

STEPS = frozenset(
    (
        "generate",
        "dataset",
        "embedding",
        "groupcheck",
        "repeats",
        "label_ratio",
        "review",
        "attributes",
        "lessons",
        "answer",
        "judge",
        "calibrate",
        "map",
    )
)
"""The engine's own steps, by which calls and rejections are counted too; no validator has one of these names."""


def load_validators(
    config: RunConfig, ask: Ask, fields: Fields, meter: Meter | None = None, *, shelf: Shelf | None = None
) -> list[Validator]:
    """The configured validators, found by entry point. `meter` counts their calls; `shelf` holds the documents that
    items are made from. Raises ConfigError.
    """
    known = installed_validators()
    validators: list[Validator] = []
    for depth, spec in enumerate(config.validators, 1):
        if spec.name not in known:
            there = ", ".join(sorted(known)) or "none; is the package installed?"
            raise ConfigError(f"validators: there is no validator {spec.name!r}; installed: {there}")
        if spec.name in STEPS:
            raise ConfigError(
                f"validators: {spec.name!r} is the name of a step of the engine; rename the validator"
            )
        own = (meter or Meter()).metered(ask, spec.name)
        tools = tools_of(config, own, fields, priority=-depth, shelf=shelf)
        try:
            validators.append(known[spec.name].load()(tools, **spec.options))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"validators: {spec.name}: {error}") from None
        except ImportError as error:
            raise ConfigError(f"validators: {spec.name} cannot be loaded: {error}") from None
    return validators


def tools_of(
    config: RunConfig, ask: Ask, fields: Fields, *, priority: int, shelf: Shelf | None = None
) -> Tools:
    """The tools for one validator."""
    schema = fields.revision_schema(config.dataset.constraints)
    return Tools(
        ask=ask,
        constraints=config.dataset.constraints,
        seed=config.seed,
        priority=priority,
        description=config.dataset.description,
        shown=fields.wire,
        question=fields.question,
        revised=fields.revised,
        read=object_in,
        asker=lambda name: asker_of(config, ask, name, priority=priority, item_schema=schema),
        cache=user_cache(),
        models=config.models_for,
        labels=fields.closed_labels,
        label="" if fields.config.label is None else "several" if "label" in fields.several else "one",
        fields=_names(fields),
        passages=shelf.passages if shelf is not None else None,
        no_answer=config.documents.no_answer if config.documents is not None else "",
    )


def _names(fields: Fields) -> dict[str, str]:
    """The dataset's fields by their names on an item."""
    spec = fields.config
    names = {part: "text" if len(spec.parts) == 1 else wire_name(part) for part in spec.parts}
    extras = [*spec.named_extras, *([spec.solution] if spec.solution is not None else [])]
    names |= {extra: wire_name(extra) for extra in extras}
    if spec.label is not None:
        names[spec.label.field] = "label"
    return names


def asker_of(
    config: RunConfig,
    ask: Ask,
    owner: str,
    *,
    priority: int = 0,
    item_schema: Mapping[str, Any] | None = None,
) -> ModelAsker:
    """A ModelAsker for one owner, with the config's replacements for the built-in templates."""
    return ModelAsker(
        ask,
        owner,
        config.seed,
        priority=priority,
        templates=config.prompts,
        item_schema=item_schema,
        ceilings=config.max_tokens,
    )


async def no_calls(prompt: Any) -> Any:
    raise AssertionError("a validator asked a model while it was being made")


@asynccontextmanager
async def opened_validators(validators: Sequence[Validator]) -> AsyncIterator[None]:
    """Keeps validators that hold resources open. Raises FatalError or ConfigError if one cannot be opened."""
    async with contextlib.AsyncExitStack() as stack:
        for validator in validators:
            if isinstance(validator, AbstractAsyncContextManager):
                try:
                    await stack.enter_async_context(validator)
                except (EngineError, asyncio.CancelledError):
                    raise
                except Exception as error:  # third-party code may fail in any way
                    said = f"the validator {validator.name} cannot be opened: {type(error).__name__}: {error}"
                    raise Defect(said) from error
        yield


@dataclass(frozen=True)
class Description:
    """How an open validator describes itself; see the protocol Described."""

    about: dict[str, Any]
    sections: list[dict[str, Any]]
    """Its sections of the report, in the form that the journal stores."""

    @property
    def warning(self) -> str:
        return str(self.about.get("warning") or "")


def described(validators: Sequence[Validator]) -> dict[str, Description]:
    """The descriptions by name; validators without one are left out."""
    return {each.name: _description(each) for each in validators if isinstance(each, Described)}


def descriptions_in(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Description]:
    """What a worker tells of its validators."""
    return {name: Description(**each) for name, each in told.items()}


def _description(validator: Described) -> Description:
    about = dict(validator.describe())
    sections = [
        {"kind": "tally" if isinstance(section, Tally) else "compliance", **asdict(section)}
        for section in about.pop("sections", ())
    ]
    return Description(about, sections)


def confirming(validators: Sequence[Validator]) -> frozenset[str]:
    """Names of the validators whose PASS confirms a label: among the given ones and all installed ones."""
    names = {each.name for each in validators if getattr(each, "confirms", False)}
    for point in installed_validators().values():
        with contextlib.suppress(ImportError):
            if getattr(point.load(), "confirms", False):
                names.add(point.name)
    return frozenset(names)
