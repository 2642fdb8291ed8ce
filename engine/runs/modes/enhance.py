"""`datagen enhance`: makes the rows of a dataset harder if their answers stay the same."""

from __future__ import annotations

from pathlib import Path

from engine.config import RunConfig
from engine.config.run import ValidatorConfig
from engine.flow.pipeline import Pipeline
from engine.flow.stage import Stage
from engine.report.shape import ReportData
from engine.runs.inputs import Inputs, loaded
from engine.runs.modes.audit import dataset_rows, rows_of
from engine.runs.modes.mode import Mode
from engine.runs.pipeline import Making, Parts, commit, refining

DIFFICULTY = "difficulty"
"""The validator that makes items harder."""


_UNREADABLE = ("unparseable", "truncated", "retries_exhausted", "no_form")


class EnhanceMode(Mode):
    """Outputs every readable row, harder or unchanged."""

    name = family = "enhance"
    completed = "Every row that can be read is harder, or as it was."

    def summary(self, data: ReportData) -> str:
        """'12 harder, 4 as they were: 3 unparseable, 1 unchanged', and what helps where replies were unreadable."""
        entry = data["validators"].get(DIFFICULTY)
        if entry is None or not entry["seen"]:
            return self.completed
        harder, reasons = entry["revised"], dict(entry["reasons"])
        reasons.pop("harder", None)
        why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in reasons.items())
        kept = entry["seen"] - harder
        said = f"{harder:,} harder, {kept:,} as they were{f': {why}' if kept and why else ''}."
        if sum(reasons.get(reason, 0) for reason in _UNREADABLE) > kept / 2:
            said += " The replies could not be read: raise max_tokens.enhancement and max_tokens.enhancement_plan, or "
            said += "name another model for these purposes (model.purposes)."
        return said

    spreads = True
    unread = ("generate", "evaluate")

    def load(self, config: RunConfig, kept: Path | None = None) -> Inputs:
        dataset = rows_of(config, self.name)
        return loaded(_difficulty_last(config), dataset, dataset.rows)

    def stages(self, parts: Making) -> list[Stage]:
        return refining(parts)[-1:]  # the other validators check this one's results, not the rows themselves

    def pipeline(self, parts: Parts) -> Pipeline:
        batches, read = dataset_rows(parts)
        return Pipeline.joined(batches, [read, *self.made(parts)], commit(parts), parts.halt)


def _difficulty_last(config: RunConfig) -> RunConfig:
    """The config with the difficulty validator last, added if missing; and without a group check."""
    others = [spec for spec in config.validators if spec.name != DIFFICULTY]
    named = [spec for spec in config.validators if spec.name == DIFFICULTY]
    last = named[0] if named else ValidatorConfig(name=DIFFICULTY)
    return config.changed(validators=(*others, last), groupcheck=None)
