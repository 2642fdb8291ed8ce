"""The command `datagen`: every subcommand."""

from __future__ import annotations

import typer

from engine.cli.commands import (
    before,
    bench,
    budget,
    cancel,
    config,
    data,
    documents,
    evaluate,
    export,
    init,
    machine,
    preview,
    repair,
    report,
    review,
    rows,
    run,
    view,
    worker,
)

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

for command in (
    run.run, run.convert, run.resume, rows.map, rows.audit, rows.enhance, rows.merge,
    before.calibrate, before.plan, before.check, preview.preview, run.status, run.watch,
    cancel.cancel, worker.worker,
    view.view, init.init, report.report, export.export, review.review, repair.repair, budget.budget,
    data.metrics, data.groupcheck, documents.documents,
    bench.bench, evaluate.evaluate, evaluate.judge, machine.simulate, machine.doctor, machine.version,
):  # fmt: skip
    app.command()(command)
app.add_typer(config.config, name="config")
