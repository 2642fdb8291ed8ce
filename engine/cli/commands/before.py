"""Commands for before a run: `check`, `plan`, `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.arguments import Cap, Code, Config, Progress, Sets, Target
from engine.cli.common import (
    FATAL,
    WRONG,
    finish,
    in_loop_tuned,
    mistakes,
    overrides,
    say,
    say_finding,
    show,
    shown,
)


def check(config: Config, set_: Sets = None, code: Code = False) -> None:
    """Try everything a run needs: config, dataset, endpoint (one tiny call). Each is ok, or says what to do."""
    from engine.flow.descriptors import most_calls
    from engine.flow.loop import in_loop
    from engine.runs.preflight import Finding, check

    async def all_findings() -> list[Finding]:
        findings_so_far = []
        async for finding in check(config, overrides(set_, None, None), allow_code=code):
            findings_so_far.append(finding)
            say_finding(finding)
        return findings_so_far

    with mistakes():
        most_calls()
        findings = in_loop(all_findings)
        failed = {finding.name for finding in findings if finding.ok is False}
        raise typer.Exit(0 if not failed else WRONG if failed & {"config", "dataset"} else FATAL)


def plan(
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="RUN_DIR",
            help="The run's folder: what it took so far is what it will take.",
        ),
    ] = None,
    show_prompts: Annotated[int, typer.Option(metavar="K", min=0, help="Print the first K prompts.")] = 0,
    target: Target = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
) -> None:
    """What a run would take: calls, tokens, dollars, hours. Makes no model call."""
    from itertools import islice

    from engine.cli.tables import plan_lines, plan_table, ways_lines
    from engine.config import RunConfig
    from engine.dataset.findings import findings
    from engine.runs.estimate import prompts
    from engine.runs.estimate_rows import plan_for
    from engine.runs.modes import mode_for
    from engine.runs.ways import ways_of
    from engine.store.folder import RunFolder

    with mistakes():
        loaded = RunConfig.load(config, overrides(set_, target, budget), allow_code=code)
        inputs = mode_for(loaded).load(loaded)
        _say_bad_rows(inputs.dataset.complaint())
        for topic, said in findings(inputs.dataset) if inputs.row_prompts is None else ():
            say(f"{topic}: {said}")
        cap = inputs.config.limits.budget_usd
        found = plan_for(inputs, RunFolder(out or Path("runs") / config.stem))
        show(plan_table(found))
        for line in (*plan_lines(found, cap), *ways_lines(ways_of(inputs, found))):
            say(line)
        for prompt in islice(prompts(inputs), show_prompts):
            say(f"\n--- {prompt.key} system\n{prompt.system}\n--- {prompt.key} user\n{prompt.user}")


def calibrate(
    config: Config,
    items: Annotated[
        int | None,
        typer.Option("--items", metavar="N", min=1, help="Rows with known labels to try; 200 where absent."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR", help="Default: runs/, the config's name and -calibration."
        ),
    ] = None,
    rewritten: Annotated[
        bool,
        typer.Option(
            "--rewritten", help="Try the rows in other names and numbers: for a model that knows them."
        ),
    ] = False,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
    progress: Progress = "auto",
) -> None:
    """Measure what the checks catch, pass and cost, on rows whose label is known; writes calibration.json."""
    from engine.config import RunConfig
    from engine.runs.api import calibrate

    with mistakes():
        folder = out or Path("runs") / f"{config.stem}-calibration"
        wanted = {**overrides(set_, None, budget), **({"quality.rewritten": True} if rewritten else {})}
        loaded = RunConfig.load(config, wanted, allow_code=code)
        finish(in_loop_tuned(lambda: calibrate(loaded, folder, items=items, show=shown(progress))), folder)


def _say_bad_rows(complaint: str) -> None:
    if complaint:
        say(f"dataset: {complaint}; skipped", err=True)
