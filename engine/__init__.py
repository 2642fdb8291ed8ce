"""DataGen: an asynchronous engine that grows a small dataset into a large, checked, cost-capped one.

from engine import RunConfig, run

result = run(RunConfig.load("config.yaml"), "runs/first")
print(result.outcome, result.accepted)
for item in result.items():
    print(item.text, item.label)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine._version import __version__

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.dataset.given import as_dataset
    from engine.exports.whole import export
    from engine.report.summary import Report
    from engine.runs.api import arun
    from engine.runs.programs import audit, evaluate, map, preview, run
    from engine.runs.result import Result

_HOMES = {
    "RunConfig": "engine.config",
    "Report": "engine.report.summary",
    "Result": "engine.runs.result",
    "arun": "engine.runs.api",
    "as_dataset": "engine.dataset.given",
    "audit": "engine.runs.programs",
    "evaluate": "engine.runs.programs",
    "export": "engine.exports.whole",
    "map": "engine.runs.programs",
    "preview": "engine.runs.programs",
    "run": "engine.runs.programs",
}


def __getattr__(name: str) -> Any:
    """Load a part of the public API when it is first asked for, so that `import engine` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "Report",
    "Result",
    "RunConfig",
    "__version__",
    "arun",
    "as_dataset",
    "audit",
    "evaluate",
    "export",
    "map",
    "preview",
    "run",
]
