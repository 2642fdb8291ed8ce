"""What this machine can do: versions, event loop, embedder, name clashes, validators."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import platform
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from engine.config.installed import installed_validators
from engine.protocols import Examined
from engine.runs.preflight import Finding

DISTRIBUTION = "datagen-engine"


def doctor() -> Iterator[Finding]:
    """What this machine can do."""
    yield Finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"
    )
    yield _event_loop()
    yield Finding("sqlite", sqlite3.sqlite_version_info >= (3, 31), sqlite3.sqlite_version)
    yield _open_files()
    for package in (
        "aiohttp",
        "orjson",
        "pydantic",
        "tenacity",
        "genai-prices",
        "pyarrow",
        "numpy",
        "faiss-cpu",
    ):
        yield _version(package)
    yield _local_embedder()
    for name in ("engine", "validators"):
        yield _clash(name)
    for point in installed_validators().values():
        yield from _examined(point)


def _event_loop() -> Finding:
    if importlib.util.find_spec("uvloop") is None:
        return Finding("event loop", None, "asyncio's own; uvloop is faster where it can be installed")
    return Finding("event loop", True, f"uvloop {metadata.version('uvloop')}")


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return Finding("open files", None, "no limit known on this system")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= 1024
    advice = "" if enough else "; raise it (ulimit -n) above the concurrency you want"
    return Finding("open files", enough, f"{soft} at once{advice}")


def _local_embedder() -> Finding:
    """Whether this machine can compute embeddings without a network."""
    from engine.diversity.model_files import DEFAULT, WAYS_OUT, on_this_machine

    if importlib.util.find_spec("sentence_transformers") is None:
        return Finding(
            "embedder", None, f"no sentence-transformers; for the group check by meaning, {WAYS_OUT}"
        )
    version = metadata.version("sentence-transformers")
    folder = on_this_machine(DEFAULT)
    if folder is None:
        return Finding(
            "embedder", None, f"sentence-transformers {version}; {DEFAULT} is to be fetched, or {WAYS_OUT}"
        )
    return Finding("embedder", True, f"sentence-transformers {version}; {DEFAULT} at {folder}")


def _version(package: str) -> Finding:
    try:
        return Finding(package, True, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(package, False, f"is not installed: pip install {package}")


def _clash(name: str) -> Finding:
    """Whether the import name resolves to this project: PyPI has another `validators`."""
    owners = set(metadata.packages_distributions().get(name, ())) - {DISTRIBUTION}
    spec = importlib.util.find_spec(name)
    there = Path(spec.origin).parent if spec is not None and spec.origin else None
    ours = Path(__file__).parents[2] / name
    if there != ours:
        return Finding(
            f"import {name}", False, f"comes from {there}, not from this project ({ours}); remove the other"
        )
    if owners:
        return Finding(
            f"import {name}", False, f"is also claimed by {', '.join(sorted(owners))}; uninstall that package"
        )
    return Finding(f"import {name}", True, str(ours))


def _examined(point: metadata.EntryPoint) -> Iterator[Finding]:
    """Whether a validator can be loaded, and what it finds on this machine."""
    try:
        factory = point.load()
        yield Finding(f"validator {point.name}", True, point.value)
        if isinstance(factory, Examined):
            yield from (Finding(*finding) for finding in factory.examine())
    except Exception as error:  # a plugin may fail in any way; the others are still reported
        yield Finding(f"validator {point.name}", False, f"cannot be loaded: {error}")
