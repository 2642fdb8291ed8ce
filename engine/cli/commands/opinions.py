"""The questions of `datagen review --sample`: is this item right? And what the answers say of the whole run."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.cli.common import say
from engine.escaping import printable

if TYPE_CHECKING:
    from engine.store.folder import RunFolder

_KEYS = "[y] right, [n] wrong, [?] cannot tell, [s]kip, [q]uit"


def ask_people(
    folder: RunFolder, count: int, seed: int, person: str, criteria: Mapping[str, int], *, blind: bool
) -> None:
    """Asks about items of a stratified sample that this person has not judged; others' items come first.

    Raises StoreError.
    """
    from engine.quality.estimates import stratified
    from engine.store.opinions import Opinion, in_order, opened_opinions, sample_of

    seen, opinions = sample_of(folder.database)
    drawn = in_order(stratified(seen, len(seen), seed), opinions, person)[:count]
    with opened_opinions(folder.database) as kept:
        try:
            for place, each in enumerate(drawn, 1):
                record, meta = kept.read(each.number)
                said = "" if blind else f"   {'accepted' if each.accepted else 'rejected'}; {trail(meta)}"
                say(f"\n--- {place} of {len(drawn)}   item {meta['id']}{said}")
                for name, value in _shown(record, meta):
                    say(f"{printable(str(name))}: {printable(text_of(value))}")
                answer = _answer()
                if answer == "q":
                    break
                if answer == "s":
                    continue
                scores = _scores(criteria)
                right = {"y": True, "n": False}.get(answer)
                kept.keep(Opinion(each.number, person, right, scores))
        except KeyboardInterrupt:
            say()  # like q: the answers so far are kept


def person_named(given: str | None) -> str:
    """Whose answers these are: as named, else the user's name here."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "somebody"


def lines_of(people: Mapping[str, Any]) -> Iterator[str]:
    """What people's answers say, in sentences."""
    from engine.quality.figures import told

    if not people:
        yield "Nobody has judged an item yet: datagen review RUN_DIR --sample 40"
        return
    right = people["right"]
    if right is not None:
        yield (
            f"Accepted items that are right: {told(right)}, from {right['seen']:,} that were judged of "
            f"{right['of']:,}; worth {right['worth']:g} drawn by chance."
        )
    for name, value in people["validators"].items():
        if value is not None:
            yield f"Agreement of people and {name}: kappa {value:.2f}."
    for each in people["persons"]:
        value = "cannot be told" if each["kappa"] is None else f"kappa {each['kappa']:.2f}"
        yield f"Agreement of {' and '.join(each['persons'])}, on {each['items']:,} items: {value}."
    for name, mean in people["scores"].items():
        yield f"{name}: {mean:g} on average."


def _shown(record: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from record.items()
    for each in meta.get("verdicts", ()):
        if "answer" in (told := each.get("record", {})) and "correct" in told:
            yield f"answer of {meta.get('model') or 'the model'}", told["answer"]


def trail(meta: Mapping[str, Any]) -> str:
    """The validators that checked it and their verdicts, in short."""
    said = ", ".join(f"{each.get('by')} {each.get('verdict')}" for each in meta.get("verdicts", ()))
    return printable(said or "no validator has looked at it")


def text_of(value: Any) -> str:
    """A value of an item for a terminal: the entries of a list one a line."""
    return "".join(f"\n  {text_of(each)}" for each in value) if isinstance(value, list) else str(value)


def _answer() -> str:
    while True:
        answer = line(f"Is it right? {_KEYS}: ")
        if answer is None:
            return "q"
        if answer[:1] in ("y", "n", "?", "s", "q"):
            return answer[:1]
        say("Please answer with one of these letters.")


def _scores(criteria: Mapping[str, int]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for name, most in criteria.items():
        while name not in scores:
            answer = line(f"{name} (1 to {most}): ")
            if not answer:
                break
            if answer.isdigit() and 1 <= int(answer) <= most:
                scores[name] = int(answer)
            else:
                say(f"Please give a number from 1 to {most}, or nothing.")
    return scores


def line(prompt: str) -> str | None:
    """A line from standard input, None at its end. Piped lines work like typed ones."""
    say(prompt, nl=False)
    line = sys.stdin.readline()
    return line.strip() if line else None


def criteria_in(given: Sequence[str] | None) -> dict[str, int]:
    """`clear` or `clear=3` each: a name, and its most points. Raises ConfigError."""
    from engine.errors import ConfigError

    criteria: dict[str, int] = {}
    for each in given or ():
        name, equals, most = each.partition("=")
        if not name.strip() or (equals and not (most.isdigit() and 2 <= int(most) <= 100)):
            raise ConfigError(f"--criterion {each}: must be NAME or NAME=MOST, with 2 to 100 points at most")
        criteria[name.strip()] = int(most) if equals else 5
    return criteria
