"""What is asked for each row of a dataset: prompts over its columns, what replies hold, how many, which is kept."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from engine.config.dataset import ColumnConfig, as_column
from engine.config.markers import ByContent, Operational, PathFrom
from engine.config.parts import Section, Share

PURPOSE = "map"
"""The purpose, on the wire, of the only step; of one with a name, `map_NAME`."""
CHOSEN, REJECTED = "chosen", "rejected"
"""The columns of a preference pair."""

Keep = Literal["first", "all", "majority", "best", "pair"]
By = Literal["shortest", "agree", "tests", "judge"]


class MadeColumn(ColumnConfig):
    """A column that replies fill: it must hold something, unless it may be null."""

    nullable: bool = False

    @model_validator(mode="after")
    def _words(self) -> Self:
        if self.type is None and any(isinstance(value, bool) for value in self.enum):
            raise ValueError(
                "enum: true and false are no texts; quote words such as 'yes' and 'no', or say type: bool"
            )
        return self


class StepConfig(Section):
    """One call for a row, and the columns that its reply fills."""

    name: Annotated[str, Field(max_length=40)] = ""
    """Of one of several steps."""
    prompt: str = "{{ row }}"
    """Jinja over the row's columns, by name or as `columns['name']`; `row` is all of them, as a fenced JSON block."""
    system: str = ""
    """Likewise."""
    columns: dict[str, Annotated[MadeColumn, BeforeValidator(as_column)]] = Field(default_factory=dict)
    """What a reply holds, as `dataset.columns`: a type, or type, enum, range, nullable, description."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Where absent: 0 for the first sample of a row, 1 for further ones."""
    max_tokens: Annotated[int, Operational()] = Field(default=1024, ge=1)
    """Of an answer, without reasoning."""
    reasoning: str | None = None
    """A column for what the model thought before it answered, where the endpoint passes it on."""

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name and not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError("is made of a-z, 0-9 and _, and begins with a letter")
        return name

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in self.made:
            if name in ("_meta", "row", "columns"):
                raise ValueError(f"no column may be called {name!r}: the name is taken by the engine")
        if self.reasoning is not None and self.reasoning in self.columns:
            raise ValueError(f"reasoning: {self.reasoning!r} is a column of the reply already")
        return self

    @property
    def purpose(self) -> str:
        return f"{PURPOSE}_{self.name}" if self.name else PURPOSE

    @property
    def made(self) -> tuple[str, ...]:
        """The columns that it fills."""
        return (*self.columns, *((self.reasoning,) if self.reasoning is not None else ()))


def _as_places(value: Any) -> Any:
    return (
        (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, list) else value
    )


class MapConfig(StepConfig):
    """For `datagen map`: one step, or several of which each sees what those before it have filled."""

    steps: tuple[StepConfig, ...] = ()
    examples: Annotated[tuple[str, ...], BeforeValidator(_as_places), PathFrom(), ByContent()] = ()
    """Rows that have all columns already, as `dataset.path`: to be shown in prompts."""
    few_shot: int = Field(default=3, ge=0, le=100)
    """How many of them each prompt shows."""
    samples: int = Field(default=1, ge=1, le=100)
    """Answers that are asked for each row, at most."""
    keep: Keep = "first"
    """The first that passes all checks, none being asked for after it; all that do; the one that most others give;
    the best one; or the best and the worst as a pair, in the columns `chosen` and `rejected`."""
    by: By = "shortest"
    """Which is best: the shortest; by the agreement that `agree` has counted; by the tests that it passes; or as a
    judge says, who sees all of a row's answers in two orders."""
    share: Share = 0.0
    """`keep: majority`: the least share of a row's answers that must be the same."""
    fan_out: int = Field(default=1, ge=1, le=1000)
    """New rows for each row, all from one reply."""
    on_reject: Literal["drop", "keep_null", "retry"] = "drop"
    """A row of which nothing passes: is left out; stays, with null in its new columns; or is asked for again."""
    retries: int = Field(default=2, ge=1, le=20)
    """`on_reject: retry`: how often; then the row is left out."""
    reuse: bool = True
    """Whether rows that lead to the same prompt are asked for once."""
    part: Annotated[int | None, Operational()] = Field(default=None, ge=1)
    """Rows of one file of finished rows, written to the folder `parts` while the run goes; none where absent."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        usual = StepConfig.model_fields["prompt"].default
        own = self.columns or self.system or self.reasoning or self.name or self.prompt != usual
        if self.steps and own:
            raise ValueError("give either steps, or the prompt and the columns of the only one")
        if not all(step.columns for step in self.chain):
            raise ValueError("columns: names none; say what a reply is to hold, such as {answer: string}")
        names = [step.name for step in self.steps]
        if len(self.steps) > 1 and ("" in names or len(set(names)) < len(names)):
            raise ValueError("steps: each needs a name of its own")
        made = self.made
        if (twice := next((name for name in made if made.count(name) > 1), None)) is not None:
            raise ValueError(f"two steps fill the column {twice!r}")
        if self.keep in ("majority", "best", "pair") and self.samples < 2:
            raise ValueError(f"keep: {self.keep} needs samples: 2 or more")
        if self.fan_out > 1 and self.samples > 1:
            raise ValueError(
                "fan_out and samples exclude each other: several rows of one reply, or several replies"
            )
        if self.keep == "pair" and {CHOSEN, REJECTED} & set(made):
            raise ValueError("keep: pair fills the columns chosen and rejected itself")
        return self

    @property
    def chain(self) -> tuple[StepConfig, ...]:
        return self.steps or (self,)

    @property
    def made(self) -> tuple[str, ...]:
        """The columns that all steps fill, in order."""
        if not self.steps:
            return super().made
        return tuple(name for step in self.steps for name in step.made)

    @property
    def most_items(self) -> int:
        """Items that one row may become."""
        return self.fan_out if self.fan_out > 1 else self.samples if self.keep == "all" else 1
