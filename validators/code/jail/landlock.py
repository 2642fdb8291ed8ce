"""Landlock: which files this process and its children may read. Everything else is out of reach."""

from __future__ import annotations

import os
import struct

from .kernel import syscall

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Kinds of access that an ABI version knows; 16 from version 5 on."""
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_TCP = 3  # bind and connect, from version 4
_SCOPES = 3  # abstract unix sockets and signals, from version 6


def abi() -> int:
    """The ABI version of the kernel's Landlock; 0 if it has none."""
    try:
        return syscall("landlock_create_ruleset", 0, 0, 1)
    except OSError:
        return 0


def restrict(readable: list[str]) -> int:
    """From here on only these folders can be read, nothing written, no TCP used. The ABI version, or 0.

    Needs no_new_privs. Raises OSError where Landlock is there and fails.
    """
    version = abi()
    if version == 0:
        return 0
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("<QQQ", files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    attributes = attributes[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    for path in readable:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        syscall("landlock_add_rule", ruleset, 1, struct.pack("<Qi", _READ_FILE | _READ_DIR, folder), 0)
        os.close(folder)
    syscall("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)
    return version
