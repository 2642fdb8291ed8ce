"""Cases of a calibration: rows with known labels, as the generator labels them, with a planted defect, as they are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.answers.scoring import same_label
from engine.config import RunConfig
from engine.dataset.fields import Fields
from engine.dataset.forms import Example, FieldProblem
from engine.dataset.item_schema import closed_object
from engine.errors import PermanentError
from engine.flow.halt import Halt
from engine.items import Batch, Completion, Item, Usage, Verdict, usd
from engine.planning.guidance import value_of
from engine.planning.plan import Planner
from engine.prompts.ask import Asking, ModelAsker
from engine.prompts.meanings import meanings
from engine.prompts.replies import object_in
from engine.protocols import Question
from engine.quality.cases import CLEAN, NATURAL
from engine.quality.defects import KINDS, Around, plant
from engine.schema.values import dumps
from engine.stages.generate import NAME as GENERATE
from engine.stages.progress import Progress

NAME = "calibrate"
"""By whom the verdicts that hold a case's record are."""
LABEL = "label"
"""The purpose of the calls by which the generator labels a known item."""
OTHER_ATTRIBUTE = "contradicted_attribute"
"""A defect of what was asked for, not of the item: another value of an attribute than the row has."""
SIZE = 3
"""Cases of one row at most: labelled by the generator, with a defect, and as it is where the generator was wrong."""
_OTHERS = 40
"""Rows from which a defect may take a name, a label, a sentence."""


class Labelling:
    """Has the generator write the label, and the solution, of a row whose label is known."""

    def __init__(
        self, config: RunConfig, fields: Fields, examples: Sequence[Example], asker: ModelAsker
    ) -> None:
        """`examples` are those that prompts may show: none of the rows that are labelled."""
        self._config = config
        self._fields = fields
        self._examples = examples
        self._asker = asker
        whole = fields.item_schema(config.dataset.constraints)["properties"]
        wanted = ("label", "labels", fields.solution_name)
        self._asked = {name: schema for name, schema in whole.items() if name in wanted}
        self._meanings = {name: said for name, said in meanings(fields).items() if name in self._asked}
        self._question: Question[dict[str, Any]] = asker.own_question(
            LABEL,
            closed_object(self._asked),
            self._read,
            max_tokens=max(512, config.generate.completion_limit),
        )

    @property
    def possible(self) -> bool:
        """Whether items have labels at all."""
        return bool(self._asked)

    def _read(self, completion: Completion) -> dict[str, Any] | None:
        return object_in(completion.text, [name for name in self._asked if name in ("label", "labels")])

    async def labelled(self, batch: Batch, example: Example) -> tuple[Example, str, Usage]:
        """The row with what the generator makes of it; its model, the usage.

        Raises what asking raises, and FieldProblem for what is no label of this dataset.
        """
        wire = self._fields.wire(example)
        question = replace(self._question, temperature=batch.temperature)
        answered = await self._asker.answered(
            question,
            Asking.once(f"{batch.number}/{NAME}/{LABEL}", batch.number, batch.seed),
            self._fields.question(example),
            description=self._config.dataset.description,
            rules=[rule.sentence() for rule in self._config.dataset.constraints],
            fields=self._meanings,
            examples=[dumps(self._fields.wire(self._examples[place])) for place in batch.examples],
        )
        if answered.reply is None:
            raise FieldProblem("unparseable", answered.completion.text[:200])
        given = {name: value for name, value in answered.reply.items() if name in self._asked}
        content = self._fields.content({**wire, **given})
        made = replace(example, label=content.label, extras=content.extras)
        return made, answered.completion.model, answered.usage


class Cases:
    """Source and first stage: a batch for each row with a known label, its cases as items.

    Each case carries a verdict of `calibrate`, whose record names its kind and the known label.
    """

    def __init__(
        self,
        held: Sequence[Example],
        others: Sequence[Example],
        fields: Fields,
        config: RunConfig,
        planner: Planner,
        labelling: Labelling,
        progress: Progress,
        halt: Halt,
        window: int,
    ) -> None:
        """`held` are the rows; `others` the dataset's other rows, from which defects take what they need."""
        self._held = held
        self._others = others
        self._fields = fields
        self._config = config
        self._planner = planner
        self._labelling = labelling
        self._progress = progress
        self._halt = halt
        self._window = window
        attributes = config.generate.attributes.items()
        self._fields_of_attributes = {name: spec.field for name, spec in attributes if spec.field is not None}
        self._values = {
            name: {value for each in held if (value := value_of(each, field)) is not None}
            for name, field in self._fields_of_attributes.items()
        }
        self._defects = self._all_planted()
        halt.on_set(lambda _: progress.changed.set())

    async def batches(self) -> AsyncIterator[Batch]:
        for number in range(self._progress.committed, len(self._held)):
            if not await self._progress.room(number, self._window, self._halt):
                return
            self._progress.outstanding += SIZE
            planned = self._planner.batch(number)
            row = self._held[number]
            yield replace(planned, size=SIZE, rows=(row.number,) * SIZE, attributes=self._asked(row))

    async def __call__(self, batch: Batch) -> Sequence[Item]:
        example = self._held[batch.number]
        items = [*await self._natural(batch, example), *self._planted(batch, example)]
        right = any(
            _kind(item) == NATURAL
            and not item.settled
            and same_label(item.label, example.label, example.choices, self._fields.closed_labels)
            for item in items
        )
        if not right:
            items.append(self._item(batch, CLEAN, example, example))
        return [item.evolve(position=place, batch_total=len(items)) for place, item in enumerate(items)]

    async def _natural(self, batch: Batch, example: Example) -> list[Item]:
        if not self._labelling.possible:
            return []
        try:
            made, model, usage = await self._labelling.labelled(batch, example)
        except PermanentError as error:
            lost = self._item(batch, NATURAL, example, example, usage=error.usage or Usage())
            return [lost.judged(Verdict.rejected(GENERATE, error.reason, str(error)))]
        except FieldProblem as problem:
            lost = self._item(batch, NATURAL, example, example)
            return [lost.judged(Verdict.rejected(GENERATE, problem.reason, str(problem)))]
        return [self._item(batch, NATURAL, made, example, model=model, usage=usage)]

    def _planted(self, batch: Batch, example: Example) -> list[Item]:
        kind, made = self._defects[batch.number]
        if made is None:
            return []
        if kind == OTHER_ATTRIBUTE:
            batch = replace(batch, attributes=self._contradicted(batch.attributes, example.number))
        return [self._item(batch, kind, made, example)]

    def _asked(self, example: Example) -> tuple[tuple[str, str], ...]:
        """The attributes that the row has, by the fields that the config takes them from."""
        held = {name: value_of(example, field) for name, field in self._fields_of_attributes.items()}
        return tuple((name, value) for name, value in held.items() if value is not None)

    def _contradicted(self, asked: tuple[tuple[str, str], ...], row: int) -> tuple[tuple[str, str], ...]:
        """With another value of one of them, which other rows have."""
        chance = random.Random(f"{self._config.seed}/{OTHER_ATTRIBUTE}/{row}")
        place = chance.randrange(len(asked))
        name, value = asked[place]
        others = sorted(self._values[name] - {value})
        return (*asked[:place], (name, chance.choice(others)), *asked[place + 1 :])

    def _all_planted(self) -> list[tuple[str, Example | None]]:
        """For each row a defect that it has a place for, of the kind that the rows before it have had least."""
        counts = dict.fromkeys((*KINDS, OTHER_ATTRIBUTE), 0)
        planted = list[tuple[str, Example | None]]()
        for example in self._held:
            around = self._around(example)
            kinds = sorted(counts, key=lambda kind: counts[kind])
            tried = ((kind, self._with_defect(kind, example, around)) for kind in kinds)
            found = next(
                ((kind, made) for kind, made in tried if made is not None and self._fits(made)), None
            )
            if found is not None:
                counts[found[0]] += 1
            planted.append(found or ("", None))
        return planted

    def _with_defect(self, kind: str, example: Example, around: Around) -> Example | None:
        if kind != OTHER_ATTRIBUTE:
            return plant(kind, example, around)
        asked = self._asked(example)
        return example if asked and all(len(self._values[name]) > 1 for name, _ in asked) else None

    def _around(self, example: Example) -> Around:
        chance = random.Random(f"{self._config.seed}/{NAME}/{example.number}")
        some = chance.sample(range(len(self._others)), min(_OTHERS, len(self._others)))
        return Around(
            chance,
            [self._others[place] for place in some],
            self._config.dataset.constraints,
            self._fields.solution_name,
            self._fields.closed_labels,
        )

    def _fits(self, made: Example) -> bool:
        """Whether the dataset's form has a place for it: what it has not, no check need catch."""
        try:
            self._fields.content(self._fields.wire(made))
        except FieldProblem:
            return False
        return True

    def _item(
        self,
        batch: Batch,
        kind: str,
        made: Example,
        known: Example,
        *,
        model: str = "",
        usage: Usage | None = None,
    ) -> Item:
        content = (made.text, made.label, made.choices, made.extras, made.parts)
        item = Item(batch, 0, SIZE, *content, model=model, usage=usage or Usage())
        record: Mapping[str, Any] = {
            "kind": kind,
            "row": known.number,
            "known": known.answer,
            "labelled_usd": usd(item.usage.cost),
        }
        return item.judged(Verdict.passed(NAME, record))


def _kind(item: Item) -> str:
    return str(item.verdicts[0].record["kind"])
