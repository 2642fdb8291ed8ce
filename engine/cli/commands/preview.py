"""The command that tries a config on a few items: `preview`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.arguments import Cap, Code, Config, Progress, Sets
from engine.cli.common import EXITS, in_loop_tuned, mistakes, overrides, say, say_json, shown

if TYPE_CHECKING:
    from engine.runs.preview import Call, Preview


def preview(
    config: Config,
    n: Annotated[int, typer.Option("-n", "--items", min=1, max=1000, help="Accepted items wanted.")] = 5,
    prompts: Annotated[bool, typer.Option("--prompts", help="Show every prompt and answer in full.")] = False,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "none",
) -> None:
    """A few items through the whole pipeline: the first prompt, each item with its verdicts, the cost. Keeps nothing.

    Makes real calls.
    """
    from dataclasses import asdict

    from engine.config import RunConfig
    from engine.runs.preview import preview

    with mistakes():
        loaded = RunConfig.load(config, overrides(set_, None, budget), allow_code=code)
        found = in_loop_tuned(lambda: preview(loaded, n, show=shown(progress)))
        if json:
            say_json(asdict(found))
        else:
            _tell(found, whole=prompts)
    raise typer.Exit(
        0 if found.outcome in ("target", "attempts") and found.items else EXITS.get(found.outcome, 5)
    )


def _tell(found: Preview, *, whole: bool) -> None:
    from engine.report.formatting import counted

    for number, each in enumerate(found.batches):
        if whole or not number:
            _tell_call(each, "first prompt" if not whole else each.key, priced=found.priced)
    for item in found.items:
        why = (
            f" by {item.meta.get('rejected_by')}: {item.meta.get('reason')}"
            if item.state == "rejected"
            else ""
        )
        say(f"--- item {item.id}   {item.state}{why}")
        for name, value in item.record.items():
            say(f"{name}: {_text(value)}")
        for verdict in item.verdicts:
            words = [str(verdict.get(key)) for key in ("by", "verdict", "reason") if verdict.get(key)]
            feedback = f": {verdict['feedback']}" if verdict.get("feedback") else ""
            say(f"  {' '.join(words)}{feedback}")
        for call in item.calls:
            if whole:
                _tell_call(call, call.key, priced=found.priced)
        say()
    calls = [*found.batches, *(call for item in found.items for call in item.calls)]
    money = f"${found.spent_usd:.6f}" if found.priced else "cost not known"
    fates = {
        state: sum(each.state == state for each in found.items)
        for state in ("accepted", "rejected", "surplus")
    }
    said = ", ".join(f"{count} {state}" for state, count in fates.items() if count) or "no item"
    say(f"{said}; {counted(len(calls), 'call')}, {money}")
    if found.message and found.outcome != "target":
        say(f"{found.outcome}: {found.message}")


def _tell_call(call: Call, title: str, *, priced: bool) -> None:
    money = f", ${call.usd:.6f}" if priced else ""
    tokens = f"{call.prompt_tokens:,} + {call.completion_tokens:,} tokens"
    say(f"--- {title}: {call.purpose}, {call.model}, {tokens}{money}, {call.seconds:.2f} s")
    if call.system:
        say(call.system)
        say()
    say(call.user)
    say(f"--- answered\n{call.answer}\n")


def _text(value: Any) -> str:
    from engine.schema.values import dumps

    return value if isinstance(value, str) else dumps(value)
