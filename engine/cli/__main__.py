"""The process of the command `datagen`: its signals and streams from the first instant, then the command."""

from __future__ import annotations

import os

from engine.cli.interrupts import leaving, over


def main() -> None:
    """Runs the command line."""
    leaving()
    _open_standard_streams()
    from engine.flow.loop import rarer_collections

    rarer_collections()
    from engine.cli.app import app

    try:
        app()
    finally:
        over()


def _open_standard_streams() -> None:
    """Opens missing standard streams, so that no socket gets their numbers; services may start us without."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
