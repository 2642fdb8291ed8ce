"""`python -m engine.simulator SETTINGS_JSON`: serves for the parent process, and ends with it."""

from __future__ import annotations

import asyncio
import sys

from engine.config.simulator import SimulatorConfig
from engine.simulator.serving import serve


def main() -> None:
    knobs = SimulatorConfig.model_validate_json(sys.argv[1])
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None  # type: ignore[assignment]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(knobs, 0, lambda url: print(url, flush=True), with_parent=True))


if __name__ == "__main__":
    main()
