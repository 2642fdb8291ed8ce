"""Which models are evaluated, on which datasets, and how they are prompted."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.config.markers import NotSecret, Operational, PathFrom
from engine.config.model import Api, ModelConfig, ReasoningConfig, as_model
from engine.config.parts import Section


class EvaluatedModel(ModelConfig):
    """A model under test. How it is addressed is part of the test, so that may not change between starts."""

    api: Api = "openai"
    api_version: Annotated[str | None, NotSecret("a version")] = None
    deployment: Annotated[str | None, NotSecret("a model's name")] = None
    entra: bool = False
    reasoning: ReasoningConfig = ReasoningConfig()
    label: str = ""
    """Its name in the results; the model's name where absent."""

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
    """A dataset to evaluate models on: a file, or a run folder for its accepted items."""

    name: str
    path: Annotated[str, BeforeValidator(str), PathFrom(), Operational()]
    """A file, a pattern, a folder or an address, as `dataset.path`."""


def _as_datasets(value: Any) -> Any:
    """Also accepts a mapping from name to path."""
    if isinstance(value, dict):
        value = [{"name": name, "path": path} for name, path in value.items()]
    if not isinstance(value, list):
        return value
    return tuple(EvaluatedData.model_validate(each, strict=False) for each in value)


class EvaluateConfig(Section):
    """For `datagen evaluate` and `datagen judge`."""

    models: tuple[Annotated[EvaluatedModel, BeforeValidator(as_model)], ...] = ()
    """The section `model` where this is empty; that model also judges (`model.purposes.judgement`)."""
    datasets: Annotated[
        tuple[EvaluatedData, ...], BeforeValidator(_as_datasets), PathFrom(), NotSecret("paths")
    ] = ()
    against: Annotated[str | None, Operational()] = None
    """The name of the original dataset, which the others are compared with."""
    reasoning: bool = True
    """Whether a model is asked to think step by step before it answers."""
    instruction: str = ""
    """A text that every model gets before the question."""
    show: tuple[str, ...] = ()
    """The extra fields that belong to the question; the label never does."""
    by: tuple[str, ...] = ()
    """Fields of the rows; the results are broken down by their values."""
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
