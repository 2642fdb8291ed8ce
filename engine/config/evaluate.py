"""Which models are put to the test, on which datasets, and how they are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.config.markers import Operational, PathFrom
from engine.config.model import Api, ModelConfig, as_model
from engine.config.parts import Section


class EvaluatedModel(ModelConfig):
    """A model that is put to the test. The way it is spoken to is part of what is tested, so none of it may change."""

    api: Api = "openai"
    api_version: str | None = None
    deployment: str | None = None
    entra: bool = False
    label: str = ""
    """What the results call it: its name, where absent."""

    @model_validator(mode="after")
    def _answers_only(self) -> Self:
        if self.purposes:
            raise ValueError(
                "a model that is tested has no purposes; those of the section model are for all else"
            )
        return self

    @property
    def called(self) -> str:
        return self.label or self.name


class EvaluatedData(Section):
    """A dataset that models are asked about: a file, or the folder of a run for what it accepted."""

    name: str
    path: Annotated[Path, PathFrom(), Operational()]


def _as_datasets(value: Any) -> Any:
    """A mapping from name to path will do."""
    if isinstance(value, dict):
        value = [{"name": name, "path": path} for name, path in value.items()]
    if not isinstance(value, list):
        return value
    return tuple(EvaluatedData.model_validate(each, strict=False) for each in value)


class EvaluateConfig(Section):
    """For `datagen evaluate` and `datagen judge`."""

    models: tuple[Annotated[EvaluatedModel, BeforeValidator(as_model)], ...] = ()
    """The section `model`'s own where there are none; that one also judges (`model.purposes.judgement`)."""
    datasets: Annotated[tuple[EvaluatedData, ...], BeforeValidator(_as_datasets), PathFrom()] = ()
    against: Annotated[str | None, Operational()] = None
    """Of the datasets, the original that the others are compared with."""
    reasoning: bool = True
    """Whether a model is asked to think step by step before it answers."""
    instruction: str = ""
    """Said to every model before the question."""
    show: tuple[str, ...] = ()
    """Of the extra fields, those that belong to the question; the label never does."""
    by: tuple[str, ...] = ()
    """Fields of the rows by whose values the results are broken down."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what, names in (
            ("models", [model.called for model in self.models]),
            ("datasets", [dataset.name for dataset in self.datasets]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                hint = "give each a label" if what == "models" else "give each a name of its own"
                raise ValueError(f"{what} has {twice!r} twice; {hint}")
        if self.against is not None and self.against not in [dataset.name for dataset in self.datasets]:
            raise ValueError(f"against: there is no dataset {self.against!r}")
        return self
