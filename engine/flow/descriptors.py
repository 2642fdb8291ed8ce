"""How many files and sockets this process may have open at once."""

from __future__ import annotations

from engine.errors import ConfigError

OWN = 32
"""Descriptors that a run needs beside its calls: the loop, the journal and its log, files, subprocesses."""


def raise_limit() -> None:
    """Raises the soft limit as far as the hard one, as servers do: the soft one is for old programs that use select."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def most_calls() -> int | None:
    """Calls that may be in flight at once; None without a limit. Raises ConfigError where not even one may."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft <= OWN:
        raise ConfigError(
            f"this process may have {soft} files open at once, and a run needs more than {OWN}: raise ulimit -n"
        )
    return int(soft) - OWN
