"""`python -m engine.simulator SETTINGS_JSON`: serves for the parent process, and ends with it."""

from __future__ import annotations

import os
import sys

from engine.config.simulator import SimulatorConfig
from engine.flow.loop import in_loop
from engine.simulator.serving import serve


def main() -> None:
    knobs = SimulatorConfig.model_validate_json(sys.argv[1])
    try:
        in_loop(lambda: serve(knobs, 0, lambda url: print(url, flush=True), with_parent=True))
    except BrokenPipeError:  # the parent has ended before it could be told where
        os._exit(0)  # without a last word to a pipe that nobody reads


if __name__ == "__main__":
    main()
