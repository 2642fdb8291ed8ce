"""One call at a time while it is not settled what an endpoint accepts for a purpose; the others wait for it."""

from __future__ import annotations

import asyncio

from engine.protocols import Backend, Negotiating


class Probes:
    """The purposes that are being tried out at one endpoint. Mutable state: those, with who waits for them."""

    def __init__(self, backend: Backend) -> None:
        self._negotiating = backend if isinstance(backend, Negotiating) else None
        self._under_way: dict[str, asyncio.Event] = {}

    def enter(self, purpose: str) -> tuple[asyncio.Event | None, bool]:
        """(what to wait for, whether this call is the probe). (None, False) once the purpose is settled.

        A probe must `leave`, whatever comes of it.
        """
        if self._negotiating is None or self._negotiating.settled(purpose):
            return None, False
        if (probe := self._under_way.get(purpose)) is not None:
            return probe, False
        self._under_way[purpose] = asyncio.Event()
        return None, True

    def leave(self, purpose: str) -> None:
        """The probe has ended; those that wait look again."""
        self._under_way.pop(purpose).set()
