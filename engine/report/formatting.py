"""Formats figures for people."""

from __future__ import annotations

from datetime import datetime


def counted(number: int, one: str, several: str = "") -> str:
    """'1 batch', '3 batches'."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def clock(at: float, now: float) -> str:
    """A time of day, '09:12'; with 'tomorrow', or its date, where it is not today's."""
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now).date()
    days = (then.date() - today).days
    day = "" if days == 0 else "tomorrow " if days == 1 else f"{then:%Y-%m-%d} "
    return f"{day}{then:%H:%M}"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min"
        if hours
        else f"{minutes} min {seconds:02} s"
        if minutes
        else f"{seconds} s"
    )
