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

    def describe(self, keys: Keys) -> str:
        """'config.yaml line 7: limits.budget', with the line of the nearest key that the file contains."""
        dotted = ".".join(str(key) for key in keys)
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return f"{self.name} line {self.lines[keys[:end]]}: {dotted}"
        return f"{self.name}: {dotted}" if dotted else self.name
