"""Tells when fewer and fewer items are accepted, while that happens, and what most of them are rejected for."""

from __future__ import annotations

import math
from collections import Counter

from engine.stages.progress import Progress

_STEP, _RECENT = 50, 200
"""Decided items between two marks; those that count as recent."""
_FALLEN = 0.5
"""Told once the recent share is below this part of the best one, and again below this part of what was told."""
_SURE = 3.0
"""Standard deviations by which it must be lower: chance alone does not get that far."""


class Yield:
    """Mutable state: marks of what was decided, the best share so far, and what was told last."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._marks = [self._mark()]
        self._best = 0.0
        self._told = math.inf

    def news(self) -> str:
        """A sentence, if the share has fallen since the last one; else ''."""
        now = self._mark()
        if now[0] - self._marks[-1][0] < _STEP:
            return ""
        self._marks.append(now)
        while len(self._marks) > 2 and now[0] - self._marks[1][0] >= _RECENT:
            self._marks.pop(0)
        decided, accepted, reasons = self._marks[0]
        recent = now[0] - decided
        if recent < _RECENT:
            return ""
        share = (now[1] - accepted) / recent
        best = self._best = max(self._best, share)
        sure = (best - share) > _SURE * math.sqrt(best * (1 - best) / recent + 1e-9)
        if not sure or share >= _FALLEN * min(best, self._told):
            return ""
        self._told = share
        named = (now[2] - reasons).most_common(1)
        why = ""
        if named:
            [((by, reason), count)] = named
            why = f"; {count / recent:.0%} of them are rejected by {by}{f' as {reason}' if reason else ''}"
        return f"fewer items are accepted: {share:.0%} of the last {recent:,}, {best:.0%} at best before{why}"

    def _mark(self) -> tuple[int, int, Counter[tuple[str, str]]]:
        progress = self._progress
        return progress.accepted + progress.rejected, progress.accepted, Counter(progress.rejected_by)
