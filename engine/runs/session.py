"""One start of a run: opens the journal, does the work, writes the results."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TextIO

from engine.config import RunConfig
from engine.errors import (
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
from engine.flow.descriptors import most_calls
from engine.flow.halt import Halt
from engine.items import PICO
from engine.llm.batches.later import Later
from engine.llm.batches.part import OPEN
from engine.llm.batches.spool import Lane
from engine.llm.batches.waves import Waves
from engine.llm.budget import Budget
from engine.llm.call import CallCounts
from engine.llm.client import Client
from engine.llm.hedge import Hedge
from engine.llm.limiter import Limiter
from engine.llm.pacing import Clock
from engine.llm.retry import RetryPolicy
from engine.observe.watchers import observed
from engine.planning.delayed import LABEL_GATE
from engine.protocols import CallJournal
from engine.quality.taken_up import section_of
from engine.report.event_log import EventLog
from engine.report.formatting import clock, counted
from engine.report.showing import Shown, as_shown
from engine.report.summary import Report
from engine.runs.documents import for_workers, used_up
from engine.runs.endpoints import Backends, coordinator_of, limiter_of, opened_backends
from engine.runs.finish import Finish
from engine.runs.identity import check_identity, facts_of
from engine.runs.inputs import Inputs, without_effect
from engine.runs.instruments import Instruments, Sampler
from engine.runs.lanes import check_lanes, finding, opened_lanes
from engine.runs.lending import Lending, lend
from engine.runs.lookout import Lookout
from engine.runs.modes import Mode
from engine.runs.outcome import ending, outcome_of
from engine.runs.passes import Passes
from engine.runs.pipeline import Parts
from engine.runs.plugins import (
    Description,
    described,
    descriptions_in,
    load_validators,
    opened_validators,
)
from engine.runs.setup import Preparing, Setup
from engine.runs.signals import Interrupts
from engine.runs.telling import Telling
from engine.stages.meter import Meter
from engine.stages.progress import Progress
from engine.store.folder import RunFolder
from engine.store.journal import Journal
from engine.store.parts import PartBook

if TYPE_CHECKING:
    from engine.protocols import Vectors

OpenBackends = Callable[[Inputs], AbstractAsyncContextManager[Backends]]


def configured_backends(inputs: Inputs) -> AbstractAsyncContextManager[Backends]:
    """The endpoints that the config names."""
    return opened_backends(inputs.config, inputs.tested)


@asynccontextmanager
async def opened(
    mode: Mode,
    inputs: Inputs,
    folder: RunFolder,
    *,
    show: TextIO | Shown | None = None,
    backends: OpenBackends = configured_backends,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> AsyncIterator[Session]:
    """A session with its journal, open while the block lasts. The folder is locked by the caller.

    `show` receives the progress, if given. `backends` opens the endpoints, `clock` counts seconds, `wall` is
    the time of day: all three are for simulations. Raises ConfigError if the folder holds another run,
    StoreError if it cannot be opened.
    """
    journal = Journal(folder.database, prompts=inputs.config.observe.prompts)
    try:
        if not journal.answered:
            await journal.start_over()
        check_identity(journal, mode, inputs, folder)
        check_lanes(inputs.config, inputs.tested, PartBook(journal, "").parts(*OPEN), folder.path)
        await mode.begin(journal, inputs)
        progress = progress_so_far(inputs, journal)
        limits = inputs.config.limits
        cap = None if limits.budget_usd is None else int(limits.budget_usd * PICO)
        budget = Budget(cap, spent=journal.spent())
        await journal.begin(facts_of(mode, inputs))
        kept = mode.kept(inputs, folder)
        folder.write_config(kept.without_secrets())
        yield Session(
            mode,
            inputs,
            kept,
            folder,
            journal,
            progress,
            budget,
            as_shown(show),
            backends,
            clock,
            EventLog(wall),
            wall,
        )
    finally:
        await journal.close()


def progress_so_far(inputs: Inputs, journal: Journal) -> Progress:
    """The progress of the run after its earlier starts."""
    tallies = journal.tallies()
    progress = Progress(inputs.target, journal.committed, tallies.accepted, tallies.rejected, tallies.surplus)
    if inputs.config.dataset.ratio is not None:
        progress.labels = Counter(journal.labels("accepted"))
        progress.turned_away = journal.rejections(LABEL_GATE)
    return progress


class Session:
    """One start. Mutable state: the halt, the counts, the events; the instruments, once the work has begun;
    the timer that cuts a drain short."""

    def __init__(
        self,
        mode: Mode,
        inputs: Inputs,
        kept: RunConfig,
        folder: RunFolder,
        journal: Journal,
        progress: Progress,
        budget: Budget,
        show: Shown,
        backends: OpenBackends,
        clock: Clock,
        events: EventLog,
        wall: Clock = time.time,
    ) -> None:
        """`kept` is the config with which the run can continue from its folder alone."""
        self.journal = journal
        self.budget = budget
        self.instruments: Instruments | None = None
        self.waves: Waves | None = None
        self.goes_on = False
        """Whether people have turned away what the target was reached with: another start makes up for it."""
        self._wall = wall
        self._mode = mode
        self._inputs = inputs
        self._kept = kept
        self._folder = folder
        self._progress = progress
        self._accepted_before = progress.accepted
        self._show = show
        self._telling = Telling(inputs.config, folder.path, journal, events, self._notify)
        self._backends = backends
        self._clock = clock
        self._began = clock()
        self._events = events
        self._halt = Halt()
        self._interrupts = Interrupts()
        self._cutting: asyncio.TimerHandle | None = None
        self._counts = CallCounts()
        self._terms: Callable[[], Mapping[str, Any]] = dict
        self._terms_kept: Mapping[str, Any] = {}

    async def run(self) -> Report:
        """Run to the end; its outcome is in the report. Raises ConfigError if something cannot be started,
        StoreError if the journal can no longer be read.
        """
        self._fit_descriptors()
        self.budget.hold = self._to_finish
        for key, why in without_effect(self._inputs):
            self._notify(f"{key} {why}.")
        for sentence in self._mode.announced(self._inputs, self._folder):
            self._notify(sentence)
        try:
            base_vectors = await self._worked()
            return await self._finish(base_vectors)
        finally:
            self._interrupts.close()

    async def _worked(self) -> Vectors | None:
        """Does the work, if there is any."""
        if self._progress.reached:
            self._halt.set(TargetReached("the target was reached before"))
            return None
        try:
            return await self._work()
        except (FatalError, StopRun) as error:  # before the first batch: something cannot open
            self._halt.set(error)
            return None

    def _fit_descriptors(self) -> None:
        """Bounds the calls in flight by the sockets that this process may open. Raises ConfigError."""
        limits, most = self._inputs.config.limits, most_calls()
        if most is not None and most < limits.most_in_flight:
            fewer = limits.model_copy(update={"concurrency": most})
            self._inputs = replace(self._inputs, config=self._inputs.config.changed(limits=fewer))
            self._notify(
                f"At most {most:,} calls are in flight at once: so many sockets may be open (ulimit -n)."
            )

    def _to_finish(self) -> int:
        """Picodollars that finishing the items under way may take, by what it took for those that are through.

        Those that wait for an item before them count as well: the first one may be the slowest.
        """
        progress = self._progress
        size = self._inputs.config.generate.batch_size if self._mode.generates else 1
        through = progress.arrived
        under_way = min(progress.outstanding, self.budget.begun * size - through)
        return self.budget.followed * under_way * 5 // (4 * through) if under_way > 0 and through > 0 else 0

    # --- the work ---

    def _drain(self, reason: EngineError) -> None:
        """Sets the time by which calls in flight must have finished: a person waits for less long than a run."""
        limits = self._inputs.config.limits
        most = limits.drain_s
        if not isinstance(reason, Interrupted):
            most = max(most, limits.attempt_timeout_s)
        self._cutting = asyncio.get_running_loop().call_later(most, self._halt.cut)

    async def _work(self) -> Vectors | None:
        """Does the work. Returns the base dataset's vectors if the run made them."""
        config = self._inputs.config
        self._halt.on_set(self._drain)
        async with contextlib.AsyncExitStack() as stack:
            backends = await stack.enter_async_context(self._backends(self._inputs))
            backends.restore(self.journal.fact("terms") or {})
            self._terms = backends.terms
            lending = None
            if config.spread.used and self._mode.spreads:
                backends, ends = lend(backends)
                kept = self._kept.changed(limits=config.limits)
                kept = stack.enter_context(for_workers(kept, self._inputs.shelf))
                lending = Lending(
                    self._mode, kept, backends, ends, self.journal, self._folder,
                    self._inputs.dataset.source, self._halt, self._events.record, self._notify,
                )  # fmt: skip
            with contextlib.closing(coordinator_of(config, self._clock)) as coordinator:
                limiter = limiter_of(config, backends, coordinator, self._events.record, self._clock)
                client = client_of(
                    config, self.journal, limiter, self.budget, self._halt, self._counts, self._clock
                )
                work = self._prepare_and_run(client, limiter, backends, lending)
                return await self._interruptible(work, limiter)

    async def _prepare_and_run(
        self, client: Client, limiter: Limiter, backends: Backends, lending: Lending | None
    ) -> Vectors | None:
        inputs, meter = self._inputs, Meter()
        async with contextlib.AsyncExitStack() as stack:
            lanes = await stack.enter_async_context(opened_lanes(backends, limiter, self._folder.path))
            book = await PartBook.opened(self.journal)
            self.waves = waves = self._waves(client, lanes, book)
            await waves.take_over()  # before any call: what waits at a provider counts against the cap
            later = Later(
                client, finding(lanes, limiter), book, self.budget, self._folder.path,
                most_calls=inputs.config.limits.batch.part,
            )  # fmt: skip
            stack.callback(later.abandon)
            validators = load_validators(
                inputs.config, later.ask, inputs.dataset.fields, meter, shelf=inputs.shelf
            )
            if lending is None:
                await stack.enter_async_context(opened_validators(validators))
            preparing = Preparing(inputs, later.ask, self.journal, self._halt, self._notify)
            setup = await stack.enter_async_context(self._mode.prepared(preparing))
            await self.journal.remember("diversity", setup.about())
            if self._mode.generates:
                await self.journal.remember("quality", section_of(inputs.config, inputs.calibrated))
            lent, descriptions = None, described(validators) if lending is None else {}
            if lending is not None:
                ready = await stack.enter_async_context(lending.opened(later.ask, setup))
                descriptions, lent = descriptions_in(ready.described), lending.stage()
            await self._describe(descriptions)
            parts = Parts(
                inputs, later.ask, self._halt, validators, meter, setup.embedding, self.journal, backends.context,
                progress=self._progress, journal=self.journal, setup=setup, lent=lent,
            )  # fmt: skip
            passes = Passes(
                inputs.config.limits, lambda turn: self._mode.pipeline(replace(parts, turn=turn)), later, waves,
                self.journal, self._progress, self.budget, self._halt, self._notify,
                lanes if self._mode.waits else {}, self._wall,
            )  # fmt: skip
            self.instruments = instruments = Instruments(
                self._progress, self.budget, self._counts, limiter, passes, self._halt,
                inputs.config.limits.budget_usd, lending.lines if lending is not None else tuple,
                str(self._folder.path), inputs.prices is not None, self._clock, self._began, self._events.news,
            )  # fmt: skip
            await stack.enter_async_context(self._observed(client, instruments))
            await stack.enter_async_context(self._telling.during(instruments))
            await stack.enter_async_context(self._show.during(instruments.snapshots()))
            stack.push_async_callback(self._keep_lessons, setup)
            sampler = Sampler(instruments, self.journal, self._clock, self._began, self._record_counts)
            lookout = Lookout(limiter.endpoints, backends.queues())
            async with sampler.running(), lookout.running():
                await passes.run()
            return setup.base_vectors

    def _waves(self, client: Client, lanes: Mapping[str, Lane], book: PartBook) -> Waves:
        limits = self._inputs.config.limits
        return Waves(
            lanes, book, self.budget, client.accounts, self._halt, self._folder.path,
            wait_s=limits.batch.wait, outage_s=limits.outage_s, start=self.journal.start,
            record=self._events.record, notify=self._notify, wall=self._wall,
        )  # fmt: skip

    @asynccontextmanager
    async def _observed(self, client: Client, instruments: Instruments) -> AsyncIterator[None]:
        """Observers (log, metrics) are active in the block. Raises ConfigError if one cannot start."""
        progress = self._progress
        async with observed(self._inputs.config.observe, self._folder.log, instruments.figures) as watchers:
            client.watch = watchers.call
            if watchers.port is not None:
                self._notify(f"Metrics at http://127.0.0.1:{watchers.port}/metrics")
            if watchers.event is None:
                yield
                return
            self._events.listeners.append(watchers.event)
            watchers.event("start", {"target": progress.target, "accepted": progress.accepted})
            try:
                yield
            finally:
                reason = str(self._halt.reason or "")
                watchers.event("end", {"accepted": progress.accepted, "reason": reason})

    async def _describe(self, descriptions: Mapping[str, Description]) -> None:
        """Records how the validators describe themselves, and shows their warnings to the user once."""
        about = {name: each.about for name, each in descriptions.items() if each.about}
        await self.journal.remember("described", about)
        await self.journal.remember("sections", {name: each.sections for name, each in descriptions.items()})
        for name, each in descriptions.items():
            if each.warning:
                self._notify(f"{name}: {each.warning}")

    async def _interruptible(
        self, work: Coroutine[Any, Any, Vectors | None], limiter: Limiter
    ) -> Vectors | None:
        """Raises what ends a start before its first batch: something cannot open, or the user stops it."""

        def first() -> None:
            self._halt.set(Interrupted("interrupted"))
            waiting = limiter.statistics().in_flight
            calls = "1 call" if waiting == 1 else f"{waiting} calls"
            what = f"Finishing {calls} in flight" if waiting else "Stopping after the present step"
            most = self._inputs.config.limits.drain_s
            if self.waves is not None and self.waves.open:
                folder, until = self._folder.path, clock(self.waves.until, self._wall())
                self._notify(
                    f"Batches go on until {until} at the latest; datagen resume {folder} collects them, datagen cancel "
                    f"{folder} stops them."
                )
            else:
                self._notify(f"{what}, {most:g} s at most; once more to stop at once.")

        try:
            return await self._interrupts.interruptible(work, first)
        except (ConfigError, FatalError, StopRun):
            raise
        except Exception as error:  # unexpected: work so far is kept and reported, as after a fatal error
            self._halt.set(Defect.caused_by(error))
            return None

    async def _keep_lessons(self, setup: Setup) -> None:
        """Records the lessons for the report."""
        lessons = setup.adviser.lessons if setup.adviser is not None else None
        if lessons is not None and lessons.drawn:
            with contextlib.suppress(StoreError):  # the run ends with the same failure
                await self.journal.remember("lessons", lessons.as_dict())

    def _notify(self, sentence: str) -> None:
        self._show.say(sentence)

    # --- the end ---

    async def _finish(self, base_vectors: Vectors | None) -> Report:
        if self._cutting is not None:
            self._cutting.cancel()
        reason = self._halt.reason
        every_row = not self._mode.generates and reason is None and not self._fell_short()
        outcome = outcome_of(reason, self._progress.reached or every_row)
        finish = Finish(self._mode, self._inputs, self._folder, self._notify)
        try:
            await self._record_counts(outcome)
            if outcome in ("target", "attempts", "budget"):
                await finish.measure(self.journal, base_vectors)
            await finish.take_in()
            report = finish.write()
        except StoreError as error:
            report = finish.without_files(reason if isinstance(reason, StoreError) else error)
        missing = self._progress.target - report.accepted
        if outcome == "target" and self._mode.generates and missing > 0:
            self._notify(f"Going on: {counted(missing, 'item')} fewer since people have decided meanwhile.")
            self.goes_on = True
            return report
        figures = ending(report, self._folder.path)
        self._show.ended(figures)
        await self._telling.ended(figures)
        return report

    def _endpoints(self) -> list[dict[str, Any]]:
        """Where each endpoint stands, for those who watch from elsewhere."""
        return [each.standing() for each in self.instruments.limiter.endpoints] if self.instruments else []

    def _fell_short(self) -> str:
        return self._mode.fell_short(self._progress, self._inputs.config)

    def _message(self, outcome: str | None) -> str:
        reason, progress = str(self._halt.reason or ""), self._progress
        if reason or outcome != "attempts":
            return reason
        if said := self._fell_short():
            return said
        return used_up(self._inputs.turns, progress.committed, progress.accepted)

    async def _record_counts(self, outcome: str | None = None) -> None:
        """Writes this start's own counts to disk; with an outcome, also its end. Raises StoreError."""
        counts = {
            **asdict(self._counts),
            "events": self._events.as_list(),
            "endpoints": self._endpoints(),
            "accepted": self._progress.accepted - self._accepted_before,
            "wall_s": self._clock() - self._began,
            "message": self._message(outcome),
            "stopped_early": isinstance(self._halt.reason, NearlyAllRejected),
        }
        await self.journal.record_counts(counts, outcome)
        if (terms := self._terms()) != self._terms_kept:
            await self.journal.remember("terms", terms)
            self._terms_kept = terms


def client_of(
    config: RunConfig,
    journal: CallJournal,
    limiter: Limiter,
    budget: Budget,
    halt: Halt,
    counts: CallCounts,
    clock: Clock,
) -> Client:
    """A client that observes the config's limits."""
    limits = config.limits
    policy = RetryPolicy(
        limits.retries, limits.call_timeout_s, attempt_s=limits.attempt_timeout_s, outage_s=limits.outage_s
    )
    hedge = Hedge(limits.hedge.after, limits.hedge.most) if limits.hedge is not None else None
    return Client(journal, limiter, budget, halt, policy, hedge=hedge, counts=counts, clock=clock)
