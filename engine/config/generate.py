"""How the engine requests new items."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.diversity import (
    Attributes,
    Selection,
    StrategyConfig,
    Temperature,
    check_attributes,
    in_range,
    spread,
)
from engine.config.markers import ByContent, Operational, PathFrom
from engine.config.parts import Section


class LearnConfig(Section):
    """Lessons from rejected items, added to generation prompts; dropped automatically if they do not help."""

    every: int = Field(default=100, ge=5)
    """Rejected items between two lessons."""
    control: float = Field(default=0.2, gt=0, lt=1)
    """Share of batches without lessons, for comparison."""


def _as_learn(value: Any) -> Any:
    return {} if value is True else None if value is False else value


class GenerateConfig(Section):
    """How the engine requests new items."""

    target: Annotated[int | None, Operational()] = Field(default=None, ge=1, le=1_000_000_000)
    """Number of accepted items wanted. Required for generating."""
    batch_size: int = Field(default=5, ge=1, le=1000)
    """Items requested in one call."""
    few_shot: int = Field(default=5, ge=0, le=1000)
    """Examples from the base dataset in each prompt."""
    temperature: Temperature = 1.0
    """One value, or [low, high]: each batch draws a value between them."""
    top_p: Temperature | None = None
    """Nucleus sampling, as temperature: one value or [low, high]. Not sent where absent, or where it is refused."""
    top_k: int | tuple[int, int] | None = None
    """Likewise: of how many tokens the next one is drawn."""
    max_tokens: Annotated[int | None, Operational()] = Field(default=None, ge=1)
    """Most completion tokens of one call; where absent, 512 for each item requested, and at least 1,024."""
    template: Annotated[Path | None, PathFrom(), ByContent()] = None
    """Your own prompt template (Jinja, blocks 'system' and 'user'), relative to the config file."""

    selection: Selection = "random"
    """How a prompt's examples are chosen. 'clustered' and 'farthest' use the base dataset's vectors."""
    balance: str = "label"
    """For 'balanced': 'label', or the field or attribute whose values the examples represent evenly."""
    attributes: Attributes = Field(default_factory=dict)
    """What new items should be about: each batch gets one value of each attribute, with even coverage."""
    strategies: dict[str, StrategyConfig] = Field(default_factory=dict)
    """Several ways to request a batch, mixed by `strategy`; if empty, the settings above are the only one."""
    strategy: Literal["fixed", "adaptive"] = "fixed"
    """'adaptive' gives more batches to the strategies that yield the most accepted items per dollar."""
    floor: float = Field(default=0.1, gt=0, lt=1)
    """The share of an adaptive mix that is divided evenly among the strategies, whatever their yield."""

    allow_repeats: bool = False
    """Whether items may repeat a row of the base dataset, or one another, word for word."""

    feedback: Annotated[Literal["none", "human"], Operational()] = "none"
    """'human' adds the latest `most_notes` notes of `datagen review` to the generation prompts."""
    most_notes: Annotated[int, Operational()] = Field(default=20, ge=1, le=200)
    learn_from_mistakes: Annotated[LearnConfig | None, BeforeValidator(_as_learn), Operational()] = None
    """`true` uses the defaults."""

    @field_validator("temperature")
    @classmethod
    def _in_range(cls, value: Temperature) -> Temperature:
        return in_range(value)

    @field_validator("top_p")
    @classmethod
    def _share(cls, value: Temperature | None) -> Temperature | None:
        spread(value, 0.01, 1)
        return value

    @field_validator("top_k")
    @classmethod
    def _some(cls, value: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        spread(value, 1, 100_000)
        return value

    @model_validator(mode="after")
    def _strategies_differ(self) -> Self:
        check_attributes(self.attributes)
        if self.strategy == "adaptive" and len(self.ways) < 2:
            raise ValueError("strategy: adaptive needs attributes, or two strategies to choose between")
        return self

    @cached_property
    def ways(self) -> dict[str, StrategyConfig]:
        """The strategies by name. An adaptive mix without any compares use and non-use of attributes."""
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
