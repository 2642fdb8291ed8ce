"""One start of a run: opens what it needs, runs the pipeline, writes what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from engine import __version__
from engine.runs.pipeline import Assembly
from engine.runs.finish import Closing
from engine.config import RunConfig
from engine.config.evaluate import EvaluatedData
from engine.diversity.sameness import THRESHOLDS
from engine.runs.endpoints import Backends, limiter_of, opened_backends
from engine.errors import (
    BudgetExhausted,
    ConfigError,
    Defect,
    EngineError,
    FatalError,
    Interrupted,
    NearlyAllRejected,
    StopRun,
    StoreError,
    TargetReached,
)
from engine.flow.halt import Halt
from engine.runs.outcome import outcome_of
from engine.runs.inputs import Inputs
from engine.runs.plugins import described, load_validators, opened_validators
from engine.runs.signals import interruptible
from engine.items import PICO, usd
from engine.llm.budget import Budget
from engine.llm.client import Client
from engine.llm.hedge import Hedge
from engine.llm.pacing import Clock
from engine.llm.retry import RetryPolicy
from engine.observe.prometheus import Reading
from engine.observe.watchers import observed
from engine.runs.setup import prepared
from engine.protocols import Validator
from engine.report.event_log import Chronicle
from engine.report.live import Snapshot, Speed, display
from engine.report.summary import Report
from engine.planning.feedback import Lessons
from engine.planning.delayed import LABEL_GATE
from engine.stages.meter import Meter
from engine.stages.progress import Progress
from engine.store.folder import RunFolder
from engine.store.identity import differences, digest, identity
from engine.store.journal import Journal

if TYPE_CHECKING:
    from engine.protocols import Vectors

FIRST_SAMPLE_S = 0.25
"""So that a short run has something to show, too."""
NOTE_EVERY_S = 2.0
"""How often this start's own counts are journaled."""


Open = Callable[[RunConfig], AbstractAsyncContextManager[Backends]]

def _kind(mode: str) -> str:
    """A judgement goes on in the folder of its evaluation."""
    return "evaluate" if mode == "judge" else mode


class RunStart:
    """One start: opens, runs, closes. Mutable state: the resources of this start."""

    def __init__(
        self,
        inputs: Inputs,
        folder: RunFolder,
        *,
        opened: Open = opened_backends,
        clock: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        """`opened` opens the endpoints; `wall` is the time of day. All three are for simulations."""
        self._config = inputs.config
        self._inputs = inputs
        self._folder = folder
        self._halt = Halt()
        self._opened = opened
        self._clock = clock
        self._chronicle = Chronicle(wall)
        self._lessons: Lessons | None = None
        self._base_vectors: Vectors | None = None
        self._show: TextIO | None = None
        self._began = clock()

    async def go(self, show: TextIO | None) -> Report:
        """Raises ConfigError where the folder holds another run, StoreError where it cannot be opened."""
        self._show = show
        self._journal = Journal(self._folder.database)
        try:
            self._check_identity()
            if self._inputs.mode == "judge":
                self._journal.replacing()
                if self._journal.fact("mode") == "evaluate" or self._inputs.again:
                    await self._journal.reopen("judge")
            self._progress = self._progress_so_far()
            self._before = self._progress.accepted
            limits = self._config.limits
            cap = None if limits.budget_usd is None else int(limits.budget_usd * PICO)
            self._budget = Budget(cap, spent=self._journal.spent())
            await self._journal.begin(self._facts())
            self._folder.write_config(self._with_copies().without_secrets())
            if self._progress.reached:
                self._halt.set(TargetReached("the target was reached before"))
            else:
                try:
                    await self._work()
                except (FatalError, StopRun) as error:  # before the first batch: something cannot open
                    self._halt.set(error)
            return await self._finish()
        finally:
            await self._journal.close()

    def _check_identity(self) -> None:
        before = self._journal.fact("identity")
        there = self._journal.fact("mode") or "run"
        if before is not None and _kind(there) != _kind(self._inputs.mode):
            raise ConfigError(
                f"{self._folder.path}: is the folder of another kind of run ({there}); choose another (-o)"
            )
        set_now = self._config.model_dump(mode="json", exclude_defaults=True)
        if before is not None and (changed := differences(before, self._identity(), set_now)):
            raise ConfigError(
                f"{self._folder.path}: this run was started with other settings: {'; '.join(changed)}. "
                "Put them back, or start a new run in another folder (-o)"
            )

    def _with_copies(self) -> RunConfig:
        """For the folder: an evaluation's datasets as copies there, so that it can go on whatever becomes of them."""
        if not self._inputs.evaluates:
            return self._config
        kept = []
        for number, each in enumerate(self._inputs.evaluated, 1):
            assert each.spec.path is not None
            name = f"{number}-{re.sub(r'[^A-Za-z0-9._-]', '_', each.name)}{each.spec.path.suffix}"
            kept.append(EvaluatedData(name=each.name, path=self._folder.keep(each.spec.path, name).resolve()))
        evaluate = self._config.evaluate.model_copy(update={"datasets": tuple(kept)})
        return self._config.changed(evaluate=evaluate)

    def _identity(self) -> dict[str, Any]:
        settings = self._config.without_secrets()
        template = self._config.generate.template
        contents = {
            "dataset.path": self._inputs.dataset.sha256,
            "generate.template": digest(template) if template is not None else None,
        }
        contents |= {f"prompts.{purpose}": digest(path) for purpose, path in self._config.prompts.items()}
        found = identity(settings, contents)
        if self._inputs.embedder is not None:
            found["embedding.model"] = self._inputs.embedder.fingerprint
        if (group := self._config.groupcheck) is not None:  # as resolved: naming a default changes nothing
            found["groupcheck.same"] = self._inputs.same
            found["groupcheck.threshold"] = group.threshold or THRESHOLDS[self._inputs.same]
        for each in self._inputs.evaluated:
            found[f"evaluate.datasets.{each.name}"] = each.base.sha256
        return {**found, "mode": _kind(self._inputs.mode)} if self._inputs.existing else found

    def _facts(self) -> dict[str, Any]:
        dataset = self._inputs.dataset
        return {
            "identity": self._identity(),
            "mode": self._inputs.mode,
            "seed": self._config.seed,
            "style": asdict(dataset.fields.style),
            "validators": [validator.name for validator in self._config.validators],
            "strategies": list(self._config.generate.ways) if len(self._config.generate.ways) > 1 else [],
            "priced": self._inputs.prices is not None,
            "model": ", ".join(dict.fromkeys(each.name for each in self._config.endpoints)),
            "engine_version": __version__,
            "dataset": {
                "rows": dataset.rows,
                "bad_rows": dict(dataset.bad_counts),
                "sha256": dataset.sha256,
            },
        }

    def _progress_so_far(self) -> Progress:
        tallies = self._journal.tallies()
        progress = Progress(
            self._config.generate.target,
            self._journal.committed,
            tallies.accepted,
            tallies.rejected,
            tallies.surplus,
        )
        if self._config.dataset.ratio is not None:
            progress.labels = Counter(self._journal.labels("accepted"))
            progress.turned_away = self._journal.rejections(LABEL_GATE)
        return progress

    # --- the work ---

    async def _work(self) -> None:
        limits = self._config.limits
        async with self._opened(self._config) as backends:
            self._limiter = limiter_of(self._config, backends, self._chronicle.tell, self._clock)
            policy = RetryPolicy(
                limits.retries,
                limits.call_timeout_s,
                attempt_s=limits.attempt_timeout_s,
                outage_s=limits.outage_s,
            )
            hedge = Hedge(limits.hedge.after, limits.hedge.most) if limits.hedge is not None else None
            self._client = Client(
                self._journal, self._limiter, self._budget, self._halt, policy, hedge=hedge, clock=self._clock
            )
            await self._interruptible(self._prepare_and_run())

    async def _prepare_and_run(self) -> None:
        meter = Meter()
        fields = self._inputs.dataset.fields
        validators = load_validators(self._config, self._client.ask, fields, meter)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(opened_validators(validators))
            ready = await stack.enter_async_context(
                prepared(self._inputs, self._client.ask, self._journal, self._halt, self._tell)
            )
            await self._journal.remember("diversity", ready.about)
            self._base_vectors = ready.base_vectors
            self._lessons = ready.adviser.lessons if ready.adviser is not None else None
            assembly = Assembly(
                self._inputs, self._client.ask, self._progress, self._journal, self._halt, ready, meter
            )
            self._pipeline = assembly.pipeline(validators)
            await self._describe(validators)
            await stack.enter_async_context(self._observed())
            if self._show is not None:
                await stack.enter_async_context(display(self._look(), self._show))
            noting = asyncio.create_task(self._note_now_and_then(), name="notes")
            try:
                await self._pipeline.run()
            finally:
                noting.cancel()
                self._sample()

    @contextlib.asynccontextmanager
    async def _observed(self) -> AsyncIterator[None]:
        """Whoever watches the run does so inside. Raises ConfigError where one cannot."""

        def reading() -> Reading:
            progress = self._progress
            queues = {name: found.queued for name, found in self._pipeline.statistics().items()}
            return Reading(
                progress.accepted, progress.rejected, progress.surplus, progress.target,
                usd(self._budget.spent), self._config.limits.budget_usd, self._client.counts,
                self._limiter.statistics(), self._limiter.endpoints, queues,
            )  # fmt: skip

        async with observed(self._config.observe, self._folder.log, reading) as watchers:
            self._client.watch = watchers.call
            if watchers.event is not None:
                self._chronicle.listeners.append(watchers.event)
                watchers.event(
                    "start", {"target": self._progress.target, "accepted": self._progress.accepted}
                )
            if watchers.port is not None:
                self._tell(f"Metrics at http://127.0.0.1:{watchers.port}/metrics")
            try:
                yield
            finally:
                if watchers.event is not None:
                    told = {"accepted": self._progress.accepted, "reason": str(self._halt.reason or "")}
                    watchers.event("end", told)

    def _tell(self, sentence: str) -> None:
        if self._show is not None:
            print(sentence, file=self._show, flush=True)

    async def _describe(self, validators: Sequence[Validator]) -> None:
        """What the validators work with goes on record; what a user should know of it is said once."""
        found = described(validators)
        about = {name: each.about for name, each in found.items() if each.about}
        await self._journal.remember("described", about)
        await self._journal.remember("sections", {name: each.sections for name, each in found.items()})
        for name, each in found.items():
            if each.warning:
                self._tell(f"{name}: {each.warning}")

    async def _interruptible(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises what ends a start before its first batch: something cannot open, or the user stops it there."""

        def first() -> None:
            self._halt.set(Interrupted("interrupted"))
            waiting = self._limiter.statistics().in_flight
            what = f"Finishing {waiting} calls in flight" if waiting else "Stopping after the present step"
            self._tell(f"{what}; once more to stop at once.")

        try:
            await interruptible(work, first)
        except (ConfigError, FatalError, StopRun):
            raise
        except (
            Exception
        ) as error:  # nothing expected: what was done is kept and told, as after any fatal error
            self._halt.set(Defect.of(error))

    def _sample(self) -> None:
        """Where the run stands, for the lines over time."""
        progress, counts = self._progress, self._client.counts
        at = round(self._clock() - self._began, 2)
        in_flight = self._limiter.statistics().in_flight
        with contextlib.suppress(StoreError):  # the pipeline meets the same failure, and ends the run
            self._journal.sample(
                (at, progress.accepted, progress.rejected, counts.completed, self._budget.spent, in_flight)
            )

    async def _note_now_and_then(self) -> None:
        noted, pause = asdict(self._client.counts), FIRST_SAMPLE_S
        self._sample()
        while True:
            await asyncio.sleep(pause)
            pause = min(NOTE_EVERY_S, 1.2 * pause)
            if (counts := asdict(self._client.counts)) == noted:
                continue  # nothing has happened: the disk may sleep
            noted = counts
            self._sample()
            with contextlib.suppress(StoreError):  # the pipeline meets the same failure, and ends the run
                await self._journal.note(self._counts())

    # --- the end ---

    async def _finish(self) -> Report:
        everything = self._inputs.existing and self._halt.reason is None
        outcome = outcome_of(self._halt.reason, self._progress.reached or everything)
        closing = Closing(self._inputs, self._folder, self._tell)
        try:
            if self._lessons is not None and self._lessons.drawn:
                await self._journal.remember("lessons", self._lessons.to_json())
            await self._journal.note(self._counts(), outcome)
            if outcome in ("target", "attempts", "budget"):
                await closing.measure(self._journal, self._base_vectors)
            return closing.write()
        except StoreError as error:
            reason = self._halt.reason if isinstance(self._halt.reason, StoreError) else error
            return closing.without_files(reason)

    def _counts(self) -> dict[str, Any]:
        counts: Mapping[str, Any] = {}
        if hasattr(self, "_client"):
            counts = asdict(self._client.counts)
        return {
            **counts,
            "events": self._chronicle.to_json(),
            "accepted": self._progress.accepted - self._before,
            "wall_s": self._clock() - self._began,
            "message": str(self._halt.reason or ""),
            "stopped_early": isinstance(self._halt.reason, NearlyAllRejected),
        }

    def _look(self) -> Callable[[], Snapshot]:
        """For the display."""
        calls, items = Speed(), Speed(self._progress.accepted)

        def look() -> Snapshot:
            progress, counts, limits = self._progress, self._client.counts, self._config.limits
            pace = items.of(progress.accepted)
            rejected_by: Counter[str] = Counter()
            for (by, _), count in progress.rejected_by.items():
                rejected_by[by] += count
            return Snapshot(
                target=progress.target,
                accepted=progress.accepted,
                rejected=progress.rejected,
                surplus=progress.surplus,
                spent_usd=usd(self._budget.spent),
                cap_usd=limits.budget_usd,
                calls=counts.completed,
                calls_per_s=calls.of(counts.completed),
                in_flight=self._limiter.statistics().in_flight,
                retried=counts.retried,
                rate_limited=counts.rate_limited,
                eta_s=(progress.target - progress.accepted) / pace if pace > 0 else None,
                queues={
                    name: (found.queued, found.capacity)
                    for name, found in self._pipeline.statistics().items()
                },
                rejected_by=rejected_by,
                note="" if self._halt.reason is None else f"ending: {self._halt.reason}",
            )

        return look
