"""How tightly programs are locked in: the levels by name, and the canary programs that prove one.

level          holds                                                            where
full           namespaces, private read-only root, Landlock, seccomp, limits    Linux, user namespaces allowed
no-landlock    the same without Landlock                                        kernels before 5.13
no-namespaces  Landlock, seccomp, limits                                        Docker's default; AppArmor
no-files       seccomp, limits; nothing can be opened at all                    neither of both
limits-only    limits                                                           only when asked for by name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Level = Literal["full", "no-landlock", "no-namespaces", "no-files", "limits-only"]
TIGHTEST_FIRST: tuple[Level, ...] = ("full", "no-landlock", "no-namespaces", "no-files", "limits-only")

MISSING: Mapping[Level, str] = {
    "full": "",
    "no-landlock": "the kernel has no Landlock; a private read-only root and seccomp stand in for it",
    "no-namespaces": "namespaces are not allowed here; Landlock and seccomp hold without them",
    "no-files": "neither namespaces nor Landlock are there; programs cannot open any file",
    "limits-only": "no seccomp: programs can read files, write them and use the network",
}


def level_of(layers: Mapping[str, Any]) -> Level:
    """The level for the layers that a zygote reports."""
    if not layers["seccomp"]:
        return "limits-only"
    namespaces = layers["namespaces"] and layers["private_root"]
    if namespaces:
        return "full" if layers["landlock"] else "no-landlock"
    return "no-namespaces" if layers["landlock"] else "no-files"


def tight_enough(level: Level, required: Level) -> bool:
    return TIGHTEST_FIRST.index(level) <= TIGHTEST_FIRST.index(required)


WAYS_OUT = (
    "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 or "
    "kernel.apparmor_restrict_unprivileged_userns=0), use a kernel with Landlock (5.13), run the programs in a "
    "container (sandbox.backend: docker or podman), or lower sandbox.require"
)

BREACH = "BREACH"

_CANARIES = {
    "read a file outside the libraries": "open('/etc/passwd').read(); print({breach!r})",
    "write a file": "open('/tmp/canary', 'w').write('x'); print({breach!r})",
    "make a folder": "import os; os.mkdir('/tmp/canary-folder'); print({breach!r})",
    "open a socket": "import socket; socket.socket(); print({breach!r})",
    "start a process": "import os; os.fork(); print({breach!r})",
    "run another program": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo {breach}'])",
    "signal another process": "import os; os.kill(os.getppid(), 0); print({breach!r})",
    "start a thread": "import _thread; _thread.start_new_thread(print, ()); print({breach!r})",
    "see a secret in its environment": (
        "import os; print([{breach!r} for name in os.environ for word in ('TOKEN', 'SECRET', 'PASSWORD', 'API_KEY')"
        " if word in name])"
    ),
    "keep a descriptor of the sandbox": (
        "import os, errno\n"
        "for number in range(3, 64):\n"
        "    try: os.fstat(number); print({breach!r})\n"
        "    except OSError as error: pass"
    ),
    "raise its own limits": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)); print({breach!r})"
    ),
}
"""What each of these programs tries, by name; one that prints the word has got through."""

CANARIES = {name: program.format(breach=BREACH) for name, program in _CANARIES.items()}
