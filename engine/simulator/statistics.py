"""What the simulated endpoint counts, and shows at /stats."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Statistics:
    """The content of /stats. Mutable; used from one event loop."""

    began: float = field(default_factory=time.monotonic)
    served: int = 0
    in_flight: int = 0
    in_flight_peak: int = 0
    limit_violations: int = 0
    refused: int = 0
    repeated: int = 0
    """Served requests that repeat an earlier one byte for byte."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """With those of thoughts."""
    billed: int = 0
    """Picodollars, for what was served."""
    embedded: int = 0
    """Texts sent to /embeddings."""
    purposes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """Requests that the dialect's rules refused, by what was said."""
    seen: set[bytes] = field(default_factory=set)

    def shown(self) -> dict[str, Any]:
        seconds = time.monotonic() - self.began
        return {
            "simulation": "a program that plays a language model; it is none",
            "served": self.served,
            "in_flight": self.in_flight,
            "in_flight_peak": self.in_flight_peak,
            "per_second": round(self.served / seconds, 2) if seconds > 0 else 0.0,
            "limit_violations": self.limit_violations,
            "refused": self.refused,
            "repeated": self.repeated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "billed_usd": self.billed / 10**12,
            "embedded": self.embedded,
            "purposes": dict(self.purposes),
            "faults": dict(self.faults),
            "refusals": dict(self.refusals),
        }
