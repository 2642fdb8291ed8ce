"""Times as providers write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def moment(value: Any) -> float | None:
    """Seconds since the epoch, of such a number or of a date in ISO 8601; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) and value else None
    except ValueError:
        return None
