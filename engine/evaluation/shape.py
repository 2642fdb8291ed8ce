"""The shape of results.json."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Counted(TypedDict):
    """Scored answers: how many, how many are right, accuracy with its 95 % interval.

    While some await a judge, the accuracy of all lies within `bounds`: none of these right, or all of them.
    """

    n: int
    right: int
    accuracy: float | None
    interval: list[float]
    bounds: list[float]


class Solvability(TypedDict):
    """Rows whose label a validator checked."""

    checked: int
    confirmed: int
    on_confirmed: Counted | None


class Result(Counted):
    """One model on one dataset. `accuracy` is None while answers await a judge."""

    dataset: str
    model: str
    unanswered: int
    pending: int
    cost_usd: float
    solvability: Solvability
    by: dict[str, dict[str, Counted]]
    """By field, then by its value."""


class Difference(TypedDict):
    """Accuracy on one dataset less that on the original."""

    difference: float | None
    interval: list[float]


class Against(Difference):
    dataset: str
    against: str
    model: str
    on_confirmed: NotRequired[Difference]


class ModelComparison(TypedDict):
    """Two models on the rows of a dataset that both have a score for."""

    dataset: str
    models: list[str]
    n: int
    only_first: int
    only_second: int
    p: float


class Results(TypedDict):
    results: list[Result]
    unreadable_rows: dict[str, int]
    differences: list[Against]
    comparisons: list[ModelComparison]
    judge_cost_usd: float
