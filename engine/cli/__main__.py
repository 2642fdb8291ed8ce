"""`python -m engine.cli` is the command `datagen`."""

from engine.cli.app import main

main()
