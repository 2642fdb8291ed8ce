"""Several models behind one door: each purpose may have its own."""

from __future__ import annotations

from collections.abc import Mapping

from engine.items import Completion, Prompt
from engine.protocols import Backend


class ByPurpose:
    """A Backend that hands each prompt to the model of its purpose. Who opened the others closes them."""

    def __init__(self, main: Backend, others: Mapping[str, Backend]) -> None:
        self.name = main.name
        self._main = main
        self._others = others

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises what the chosen backend raises."""
        return await self._others.get(prompt.purpose, self._main).complete(prompt)

    async def close(self) -> None:
        for backend in (self._main, *self._others.values()):
            await backend.close()
