"""A case of a calibration: a row with a known label, as the checks have met it, and what each made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NATURAL, CLEAN = "natural", "clean"
"""The kinds of cases without a planted defect: as the generator labels the row, and as the dataset does."""
CONFIGURED = ""
"""The policy of a check that the config has."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What one check, by one policy, made of a case: `right` is None where it was rejected, or nobody can tell."""

    rejected: bool
    reason: str
    right: bool | None
    label: str
    usd: float
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Tried:
        return cls(
            record["decision"] == "reject",
            str(record["reason"]),
            record["right"],
            str(record["label"]),
            float(record["usd"]),
            int(record.get("calls", 0)),
            *map(int, record.get("tokens", (0, 0))),
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One case: where its row stands, what kind it is, whether it came right, and what became of it."""

    row: int
    kind: str
    right: bool | None
    label: str
    checks: Mapping[str, Mapping[str, Tried]]
    accepted: bool
    """By the whole list of the config, as a run does."""
    rejected_by: str
    final: bool | None
    """Whether it is right in the end, where it was accepted."""
    usd: float
    """All of its calls, as the run would have made them."""

    @property
    def natural(self) -> bool:
        return self.kind == NATURAL

    @property
    def wrong(self) -> bool:
        return self.right is False
