"""Documents that items are made from: which, how they are cut, how often each passage is used."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from engine.config.markers import ByContent, Operational, PathFrom
from engine.config.parts import Section, Share


class PassagesConfig(Section):
    """How documents are cut, in characters."""

    target: int = Field(default=1200, ge=200, le=20_000)
    """About how long a passage is."""
    most: int = Field(default=2000, ge=200, le=50_000)
    """No passage is longer."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.most < self.target:
            raise ValueError(f"most ({self.most}) is below target ({self.target})")
        return self


def _as_hops(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {value: 1.0}
    if isinstance(value, dict):  # keys of JSON are texts
        return {int(key) if str(key).isdecimal() else key: share for key, share in value.items()}
    return value


def _as_places(value: Any) -> Any:
    return (
        (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, list) else value
    )


class DocumentsConfig(Section):
    """Documents, and how passages of them become batches."""

    path: Annotated[tuple[str, ...], BeforeValidator(_as_places), PathFrom(), ByContent()]
    """Files, folders, patterns, addresses (hf://, s3://, gs://, https://); relative to the config file."""
    passages: PassagesConfig = PassagesConfig()
    per_passage: int = Field(default=3, ge=1, le=1000)
    """Items at most that are asked for from one passage. Each passage has its first turn before any has a second."""
    hops: Annotated[dict[int, float], BeforeValidator(_as_hops)] = Field(default_factory=lambda: {1: 1.0})
    """Shares of batches that are made from so many passages, each of another document: `{1: 0.8, 2: 0.2}`."""
    weight: Literal["passages", "documents"] = "passages"
    """Whether long documents come up more often than short ones, or all as often."""
    unreadable: Annotated[Literal["report", "refuse"], Operational()] = "report"
    """Whether a run begins without the files that cannot be read."""
    unanswerable: Share = 0.0
    """The share of batches that ask for questions to which the document has no answer."""
    no_answer: str = "The document does not say."
    """The label of such questions."""
    seconds: Annotated[float, Operational()] = Field(default=120.0, gt=0)
    """How long reading one file may take."""

    @field_validator("path")
    @classmethod
    def _names_something(cls, path: tuple[str, ...]) -> tuple[str, ...]:
        if not path or not all(map(str.strip, path)):
            raise ValueError("is empty; name a file, a folder or a pattern")
        return path

    @field_serializer("path")
    def _one_or_several(self, path: tuple[str, ...]) -> str | list[str]:
        return path[0] if len(path) == 1 else list(path)

    @field_validator("hops")
    @classmethod
    def _shares(cls, hops: dict[int, float]) -> dict[int, float]:
        if not hops or any(not 1 <= count <= 5 for count in hops):
            raise ValueError(
                "names numbers of passages from 1 to 5, each with its share, such as {1: 0.8, 2: 0.2}"
            )
        if any(share < 0 for share in hops.values()) or sum(hops.values()) <= 0:
            raise ValueError("each share is 0 or more, and one is above 0")
        return dict(sorted(hops.items()))
