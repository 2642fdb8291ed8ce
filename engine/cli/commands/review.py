"""The command with which people review a run's items one by one: `review`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.cli.commands.opinions import line, person_named, text_of, trail
from engine.cli.common import existing_of_items, mistakes, mode_of, report_of, say
from engine.escaping import printable

if TYPE_CHECKING:
    from engine.store.reviews import Decision, ReviewDecision

SKIP: Literal["skip"] = "skip"
_KEYS = "[a]ccept, [r]eject, [n]ote, [s]kip, [q]uit"


def review(
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="The folder of a run that is not running.")
    ],
    most: Annotated[int | None, typer.Option("-n", "--most", min=1, help="End after so many items.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For the order in which items come.")] = 0,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="N",
            min=1,
            help="Judge N items of a sample of all: is each right? Changes no fate.",
        ),
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="With --sample: the checks' verdicts are not shown.")
    ] = False,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who judges; else the user here.")
    ] = None,
    criterion: Annotated[
        list[str] | None,
        typer.Option(
            "--criterion", metavar="NAME[=MOST]", help="With --sample: points to give, 1 to MOST (5)."
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what the judgements so far say, and ask nothing.")
    ] = False,
) -> None:
    """Look at accepted items one by one: accept, reject, or note. Notes can guide what is generated later.

    With --sample, judge a sample of all items instead: what share of the accepted is right, with an interval.
    """
    from engine.config import RunConfig
    from engine.runs.decisions import take_in
    from engine.store.folder import write_items
    from engine.store.reviews import opened_reviews

    with mistakes():
        if sample is not None or estimate:
            _judge(run_dir, 0 if estimate else sample or 0, seed, by, criterion, blind=blind)
            return
        folder = existing_of_items(run_dir)
        config = RunConfig.load(folder.config, lenient=True)
        with folder.locked(), opened_reviews(folder.database) as reviews:
            take_in(folder, say)
            fields = folder.form(config.item_fields)

            def seen(record: Mapping[str, Any]) -> tuple[str, str]:
                example = fields.remembered(dict(record))
                return example.text, example.answer

            person = person_named(by)
            there = reviews.open_items(seed)
            try:
                for count, reviewed in enumerate(reviews.read(there[:most]), 1):
                    _show(reviewed, config, f"{count} of {len(there[:most]):,}")
                    if (decision := _asked(reviewed.item, person)) is None:
                        break
                    if decision != SKIP:
                        reviews.decide(decision, seen)
            except KeyboardInterrupt:
                say()  # like q: the decisions so far are kept
            write_items(folder)
            counts = reviews.counts()
        _close(run_dir, counts, len(there), config)


def _judge(
    run_dir: Path, count: int, seed: int, by: str | None, criterion: list[str] | None, *, blind: bool
) -> None:
    """Asks about a sample, of any kind of run; then says what all judgements say of the whole."""
    from engine.cli.commands.opinions import ask_people, criteria_in, lines_of
    from engine.runs.decisions import take_in
    from engine.runs.reports import write_report
    from engine.store.folder import RunFolder

    folder = RunFolder.existing(run_dir)
    criteria = criteria_in(criterion)
    if count:
        with folder.locked():
            take_in(folder, say)
            ask_people(folder, count, seed, person_named(by), criteria, blind=blind)
    report, running = report_of(run_dir)
    if count and not running:
        write_report(folder)
    for each in lines_of(report.data["quality"].get("people", {})):
        say(each)


def _close(run_dir: Path, counts: dict[str, int], there: int, config: Any) -> None:
    from engine.runs.reports import write_report
    from engine.store.folder import RunFolder

    report = write_report(RunFolder(run_dir))
    if not there:
        say("Every accepted item has been reviewed.")
    done = ", ".join(f"{counts.get(name, 0):,} {what}" for name, what in _DONE.items())
    say(f"Reviewed so far: {done}. {report.accepted:,} items are accepted.")
    missing = report.data["items"]["target"] - report.accepted
    noted = any(counts.get(name) for name in ("note", "reject"))
    if mode_of(report).generates and noted and (config.generate.feedback == "none" or missing > 0):
        human = " --set generate.feedback=human" if config.generate.feedback == "none" else ""
        say(f"To go on, guided by the notes: datagen resume {run_dir}{human}")


_DECISIONS: dict[str, ReviewDecision] = {"a": "accept", "r": "reject", "n": "note"}
_DONE = {"accept": "accepted", "reject": "rejected", "note": "noted"}


def _show(reviewed: Any, config: Any, place: str) -> None:
    from engine.store.reviews import Reviewed

    assert isinstance(reviewed, Reviewed)
    meta = reviewed.meta
    say(f"\n--- {place}   item {meta['id']}   {trail(meta)}")
    for name, value in reviewed.record.items():
        say(f"{printable(str(name))}: {printable(text_of(value))}")


def _asked(item: int, person: str) -> Decision | Literal["skip"] | None:
    """Asks for a decision on one item; None where no more are wanted, SKIP where none is made."""
    from engine.store.reviews import Decision

    while True:
        answer = line(f"{_KEYS}: ")
        if answer is None or answer[:1] == "q":
            return None
        if answer[:1] in ("a", "s", "r", "n"):
            break
        say("Please answer with one of these letters.")
    if answer[0] == "s":
        return SKIP
    note = ""
    if answer[0] in ("r", "n"):
        rest = answer[1:].strip()
        note = rest or line("What should be different? ") or ""
    return Decision(item, _DECISIONS[answer[0]], note, person)
