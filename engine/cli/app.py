"""The command `datagen`: arguments in, exit code out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.commands import bench, budget, evaluate, export, init, repair, review
from engine.cli.commands import data as datasets
from engine.cli.commands import report as pages
from engine.cli.common import (
    FATAL,
    WRONG,
    Code,
    finish,
    in_loop_tuned,
    mistakes,
    mode_of,
    overrides,
    report_of,
    say,
    say_json,
    show,
    tell,
)

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.report.summary import Report

app = typer.Typer(
    name="datagen",
    help="Grow a small dataset into a large, checked, cost-capped synthetic one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 target reached, 2 command line or config wrong, 3 stopped at the budget, "
    "4 stopped by a fatal error, 5 attempts exhausted, 130 interrupted. All but 2 leave a run that can be resumed.",
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The run's settings.")]
RunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The folder of a run.")]
Target = Annotated[int | None, typer.Option(min=1, help="Accepted items wanted (generate.target).")]
Cap = Annotated[float | None, typer.Option("--budget", help="Ceiling in US dollars (limits.budget_usd).")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file, a pattern, a folder (also a run's) or an address; '-' is JSON lines on standard input.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set any key of the config, e.g. limits.concurrency=128."
    ),
]


@app.command()
def run(
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN_DIR", help="Default: runs/ and the config's name."),
    ] = None,
    target: Target = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
) -> None:
    """Start a run, or continue it: the same line again is the resume."""
    from engine.config import RunConfig
    from engine.runs.api import arun

    with mistakes():
        folder = out or Path("runs") / config.stem
        loaded = RunConfig.load(config, overrides(set_, target, budget), allow_code=code)
        _tell_translation(loaded, config)
        finish(in_loop_tuned(lambda: arun(loaded, folder, show=sys.stderr)), folder)


@app.command()
def convert(
    config: Annotated[Path, typer.Argument(metavar="THEIR.yaml", help="A config of the paper's own code.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OURS.yaml", help="Standard output where absent.")
    ] = None,
) -> None:
    """Translate a config of the paper's own code, and say what became of its keys."""
    from engine.config import RunConfig
    from engine.errors import ConfigError
    from engine.files.writing import replacing
    from engine.planning.guidance import check_without_base

    with mistakes():
        theirs = RunConfig.load(config, lenient=True)
        translation = theirs.translation()
        if translation is None:
            raise ConfigError(f"{config}: is not a config of the paper's code; there is nothing to translate")
        check_without_base(theirs)
        settings, notes = translation
        for note in notes:
            tell(note)
        if out is None:
            say(_yaml(settings), nl=False)
        else:
            with replacing(out) as file:
                file.write(_yaml(settings))


@app.command()
def resume(
    run_dir: RunDir, target: Target = None, budget: Cap = None, set_: Sets = None, code: Code = False
) -> None:
    """Continue a run from its folder alone."""
    from engine.config import RunConfig
    from engine.runs.api import resumed
    from engine.store.folder import RunFolder

    with mistakes():
        folder = RunFolder.existing(run_dir)
        loaded = RunConfig.load(folder.config, overrides(set_, target, budget), allow_code=code)
        finish(in_loop_tuned(lambda: resumed(loaded, run_dir, show=sys.stderr)), run_dir)


@app.command()
def audit(
    data: Data,
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="RUN_DIR", help="Default: runs/, the config's name and -audit."),
    ] = None,
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
) -> None:
    """Run the configured validators over an existing dataset: which rows hold, which were corrected, which not."""
    from engine.runs.api import audit

    _over_rows(audit, data, config, out or Path("runs") / f"{config.stem}-audit", budget, set_, code)


@app.command()
def enhance(
    data: Data,
    config: Config,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN_DIR", help="The run's folder.")],
    budget: Cap = None,
    set_: Sets = None,
    code: Code = False,
) -> None:
    """Make the items of an existing dataset harder where their answer survives it; the others stay as they are."""
    from engine.runs.api import enhance

    _over_rows(enhance, data, config, out, budget, set_, code)


@app.command()
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
) -> None:
    """Measure what the checks catch, pass and cost, on rows whose label is known; writes calibration.json."""
    from engine.config import RunConfig
    from engine.runs.api import calibrate

    with mistakes():
        folder = out or Path("runs") / f"{config.stem}-calibration"
        wanted = {**overrides(set_, None, budget), **({"quality.rewritten": True} if rewritten else {})}
        loaded = RunConfig.load(config, wanted, allow_code=code)
        finish(in_loop_tuned(lambda: calibrate(loaded, folder, items=items, show=sys.stderr)), folder)


@app.command()
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

    from engine.cli.tables import plan_lines, plan_table
    from engine.config import RunConfig
    from engine.dataset.findings import findings
    from engine.runs.estimate import plan_of, prompts
    from engine.runs.modes import GenerateMode
    from engine.store.folder import RunFolder

    with mistakes():
        inputs = GenerateMode().load(RunConfig.load(config, overrides(set_, target, budget), allow_code=code))
        _say_bad_rows(inputs.dataset.complaint())
        for topic, said in findings(inputs.dataset):
            say(f"{topic}: {said}")
        cap = inputs.config.limits.budget_usd
        found = plan_of(inputs, RunFolder(out or Path("runs") / config.stem))
        show(plan_table(found))
        for line in plan_lines(found, cap):
            say(line)
        for prompt in islice(prompts(inputs), show_prompts):
            say(f"\n--- {prompt.key} system\n{prompt.system}\n--- {prompt.key} user\n{prompt.user}")


@app.command()
def check(config: Config, set_: Sets = None, code: Code = False) -> None:
    """Try everything a run needs: config, dataset, endpoint (one tiny call). Each is ok, or says what to do."""
    from engine.flow.descriptors import most_calls
    from engine.flow.loop import in_loop
    from engine.runs.preflight import Finding, check

    async def all_findings() -> list[Finding]:
        findings_so_far = []
        async for finding in check(config, overrides(set_, None, None), allow_code=code):
            findings_so_far.append(finding)
            _say(finding)
        return findings_so_far

    with mistakes():
        most_calls()
        findings = in_loop(all_findings)
        failed = {finding.name for finding in findings if finding.ok is False}
        raise typer.Exit(0 if not failed else WRONG if "config" in failed else FATAL)


@app.command()
def status(
    run_dir: RunDir, json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False
) -> None:
    """Where a run stands, live or stopped."""
    from engine.report.tables import status_table

    with mistakes():
        report, running = report_of(run_dir)
        if json:
            say_json({**report.data, "running": running})
        else:
            show(status_table(report, running, mode_of(report).summary(report.data)))


app.command()(init.init)
app.command()(pages.report)
app.command()(export.export)
app.command()(review.review)
app.command()(repair.repair)
app.command()(budget.budget)
app.command()(datasets.metrics)
app.command()(datasets.groupcheck)
app.command()(bench.bench)
app.command()(evaluate.evaluate)
app.command()(evaluate.judge)


@app.command()
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
            say(f"{name}={value}")
        return
    with mistakes():
        try:
            named = {"dialect": dialect, "thinking": thinking}
            given = {name: value for name, value in named.items() if value is not None}
            chosen = SimulatorConfig.model_validate_json(
                orjson.dumps({**overrides(set_, None, None), **given})
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            option = f"--{name}" if name in given else f"--set {name}"
            raise ConfigError(f"{option}: {first['msg']}") from None

        def ready(url: str) -> None:
            say(f"A simulation, not a language model, answers at {url} (Ctrl-C ends it)")

        in_loop(lambda: serve(chosen, port, ready, with_parent=False))


@app.command()
def doctor() -> None:
    """What this machine can do: Python, event loop, versions, name clashes, validators, sandbox."""
    from engine.runs.doctor import doctor

    with mistakes():
        findings = list(doctor())
        for finding in findings:
            _say(finding)
    raise typer.Exit(FATAL if any(finding.ok is False for finding in findings) else 0)


@app.command()
def version() -> None:
    """The version of this engine."""
    from engine._version import __version__

    with mistakes():
        say(__version__)


# --- shared by the commands above -------------------------------------------------------------------


def _over_rows(
    work: Callable[..., Coroutine[Any, Any, Report]],
    data: str,
    config: Path,
    folder: Path,
    budget: float | None,
    sets: list[str] | None,
    code: bool,
) -> None:
    """A run over the rows of an existing dataset."""
    from engine.config import RunConfig
    from engine.config.paths import is_remote
    from engine.files.writing import spooled

    with mistakes(), contextlib.ExitStack() as stack:
        given = str(stack.enter_context(spooled(sys.stdin.buffer, folder))) if data == "-" else data
        source = given if is_remote(given) else str(Path(given).absolute())
        loaded = RunConfig.load(
            config, {**overrides(sets, None, budget), "dataset.path": source}, allow_code=code
        )
        finish(in_loop_tuned(lambda: work(loaded, folder, show=sys.stderr)), folder)


def _tell_translation(config: RunConfig, path: Path) -> None:
    translation = config.translation()
    if translation is not None:
        settings, notes = translation
        tell(f"{path} is a config of the paper's own code; it is run as:\n\n{_yaml(settings)}")
        for note in notes:
            tell(note)


def _yaml(settings: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)


def _say(finding: Any) -> None:
    mark = {True: "ok", False: "FAILED", None: "note"}[finding.ok]
    say(f"{finding.name:<20} {mark:<7} {finding.detail}")


def _say_bad_rows(complaint: str) -> None:
    if complaint:
        say(f"dataset: {complaint}; skipped", err=True)


def main() -> None:
    _open_standard_streams()
    app()


def _open_standard_streams() -> None:
    """Opens missing standard streams, so that no socket gets their numbers; services may start us without."""
    import os

    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
