"""The position of a key in the config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.config.markers import Keys


@dataclass(frozen=True)
class Place:
    """The position of a config, for error messages: the file, and the line of each key."""

    name: str
    lines: Mapping[Keys, int] = field(default_factory=dict)
    given: frozenset[Keys] = frozenset()
    """Keys that the command line, or a program, has set in place of the file."""

    def describe(self, keys: Keys) -> str:
        """'config.yaml line 7: limits.budget', with the line of the nearest key that the file contains.

        'the command line: limits.budget' where that has set it.
        """
        dotted = ".".join(str(key) for key in keys)
        if keys and any(_of(keys, each) for each in self.given) and not self._stands(keys):
            return f"the command line: {dotted}"
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return f"{self.name} line {self.lines[keys[:end]]}: {dotted}"
        return f"{self.name}: {dotted}" if dotted else self.name

    def _stands(self, keys: Keys) -> bool:
        """Whether the file has just this key, and nobody has set it."""
        return keys in self.lines and not any(
            _of(keys, each) and len(each) <= len(keys) for each in self.given
        )


def _of(keys: Keys, given: Keys) -> bool:
    """Whether what is wrong at `keys` may come from what was given: it, a part of it, or the section it is in."""
    shorter = min(len(keys), len(given))
    return keys[:shorter] == given[:shorter]
