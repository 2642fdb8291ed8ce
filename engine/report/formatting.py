"""Formats figures for people."""

from __future__ import annotations


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
