"""The modes of a run, one file for each."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config import RunConfig
from engine.runs.modes.audit import AuditMode
from engine.runs.modes.calibrate import CalibrateMode
from engine.runs.modes.enhance import EnhanceMode
from engine.runs.modes.evaluate import EvaluateMode
from engine.runs.modes.generate import GenerateMode
from engine.runs.modes.judge import JudgeMode
from engine.runs.modes.map import MapMode
from engine.runs.modes.merge import MergeMode
from engine.runs.modes.mode import Mode

MODES: Mapping[str, Mode] = {
    mode.name: mode
    for mode in (
        GenerateMode(),
        AuditMode(),
        EnhanceMode(),
        EvaluateMode(),
        JudgeMode(),
        CalibrateMode(),
        MergeMode(),
        MapMode(),
    )
}
"""The modes by the name that a run's journal records."""


def mode_for(config: RunConfig, rows: int | None = None) -> Mode:
    """The kind of run that a config is for: one that says what is asked for rows is for these, the first so many."""
    return MapMode(rows) if config.map is not None else GenerateMode()


__all__ = [
    "MODES",
    "AuditMode",
    "CalibrateMode",
    "EnhanceMode",
    "EvaluateMode",
    "GenerateMode",
    "JudgeMode",
    "MapMode",
    "MergeMode",
    "Mode",
    "mode_for",
]
