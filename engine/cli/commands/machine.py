"""Commands of this installation: `simulate`, `doctor`, `version`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from engine.cli.common import FATAL, mistakes, overrides, say, say_finding


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8377,
    dialect: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose rules and errors it plays: openai, anthropic, vllm, ..."),
    ] = None,
    thinking: Annotated[
        str | None,
        typer.Option(
            metavar="STYLE",
            help="Where thoughts stand: own, none, hidden, tag, half_tag, channel, parts, field.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KNOB=VALUE", help="Any knob, e.g. wrong_labels=0.2; see --knobs."),
    ] = None,
    knobs: Annotated[
        bool, typer.Option("--knobs", help="List the knobs with their defaults, and end.")
    ] = False,
) -> None:
    """Serve the simulated OpenAI-compatible endpoint. It is a program that plays a language model, not one."""
    import orjson
    from pydantic import ValidationError

    from engine.config.simulator import SimulatorConfig
    from engine.errors import ConfigError
    from engine.flow.loop import in_loop
    from engine.simulator.serving import serve

    if knobs:
        for name, value in SimulatorConfig().model_dump().items():
            for inner, each in value.items() if isinstance(value, dict) else (("", value),):
                say(f"{name}.{inner}={each}" if inner else f"{name}={each}")
        return
    with mistakes():
        try:
            named = {"dialect": dialect, "thinking": thinking}
            given = {name: value for name, value in named.items() if value is not None}
            wanted = nested({**overrides(set_, None, None), **given})
            chosen = SimulatorConfig.model_validate_json(orjson.dumps(wanted))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            option = f"--{name}" if name in given else f"--set {name}"
            raise ConfigError(f"{option}: {first['msg']}") from None

        def ready(url: str) -> None:
            say(f"A simulation, not a language model, answers at {url} (Ctrl-C ends it)")

        in_loop(lambda: serve(chosen, port, ready, with_parent=False))


def nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as mappings within mappings."""
    whole: dict[str, Any] = {}
    for key, value in given.items():
        *outer, last = key.split(".")
        place = whole
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return whole


def doctor() -> None:
    """What this machine can do: Python, event loop, versions, name clashes, validators, sandbox."""
    from engine.runs.doctor import doctor

    with mistakes():
        findings = list(doctor())
        for finding in findings:
            say_finding(finding)
    raise typer.Exit(FATAL if any(finding.ok is False for finding in findings) else 0)


def version() -> None:
    """The version of this engine."""
    from engine._version import __version__

    with mistakes():
        say(__version__)
