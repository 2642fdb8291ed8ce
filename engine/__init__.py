"""DataGen: an asynchronous engine that grows a small dataset into a large, checked, cost-capped one.

from engine import RunConfig, run

report = run(RunConfig.load("config.yaml"), "runs/first")
print(report.outcome, report.accepted)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine._version import __version__

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.report.summary import Report
    from engine.runs.api import arun, run

_HOMES = {
    "RunConfig": "engine.config",
    "Report": "engine.report.summary",
    "run": "engine.runs.api",
    "arun": "engine.runs.api",
}


def __getattr__(name: str) -> Any:
    """Load a part of the public API when it is first asked for, so that `import engine` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


__all__ = ["Report", "RunConfig", "__version__", "arun", "run"]
