"""Commands about configs as such: `config schema`."""

from __future__ import annotations

import typer

from engine.cli.common import mistakes, say_json

config = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What a config may hold.")


@config.callback()
def _config() -> None:
    """Keeps `schema` a command of its own."""


@config.command()
def schema() -> None:
    """Print the JSON Schema of configs, by which editors complete and check them."""
    from engine.config.json_schema import config_schema

    with mistakes():
        say_json(config_schema())
