"""Sends a run's figures to a tracker of experiments: Weights & Biases, MLflow or Trackio, each by its own library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from engine.config.observe import TrackConfig
from engine.errors import ConfigError

Figures = Mapping[str, float]


class Tracker(Protocol):
    """One run at a tracker. Its library may block, so it is used in a thread."""

    def log(self, seconds: int, figures: Figures) -> None: ...

    def end(self, summary: Mapping[str, Any], *, failed: bool) -> None: ...


class Wandb:
    """https://docs.wandb.ai/ref/python: WANDB_MODE=offline keeps it on this machine."""

    def __init__(
        self, config: TrackConfig, name: str, key: str, settings: Mapping[str, Any], folder: Path
    ) -> None:
        self._run = _library("wandb").init(
            project=config.project, name=name, id=key, resume="allow", dir=str(folder), config=dict(settings)
        )

    def log(self, seconds: int, figures: Figures) -> None:
        self._run.log({**figures, "seconds": seconds})

    def end(self, summary: Mapping[str, Any], *, failed: bool) -> None:
        for name, value in summary.items():
            self._run.summary[name] = value
        self._run.finish(exit_code=int(failed))


class Mlflow:
    """https://mlflow.org/docs/latest/tracking: MLFLOW_TRACKING_URI says where."""

    def __init__(
        self, config: TrackConfig, name: str, key: str, settings: Mapping[str, Any], folder: Path
    ) -> None:
        self._flow = _library("mlflow")
        self._flow.set_experiment(config.project)
        found = self._flow.search_runs(filter_string=f"tags.datagen = '{key}'", output_format="list")
        if found:
            self._run = self._flow.start_run(run_id=found[0].info.run_id)
        else:
            self._run = self._flow.start_run(run_name=name, tags={"datagen": key})
            self._flow.log_params({k: str(v)[:500] for k, v in _flat(settings) if v not in (None, {}, [])})

    def log(self, seconds: int, figures: Figures) -> None:
        self._flow.log_metrics(dict(figures), step=seconds)

    def end(self, summary: Mapping[str, Any], *, failed: bool) -> None:
        self._flow.set_tags({name: str(value)[:500] for name, value in summary.items()})
        self._flow.end_run("FAILED" if failed else "FINISHED")


class Trackio:
    """https://huggingface.co/docs/trackio: TRACKIO_DIR says where."""

    def __init__(
        self, config: TrackConfig, name: str, key: str, settings: Mapping[str, Any], folder: Path
    ) -> None:
        self._run = _library("trackio").init(
            project=config.project,
            name=f"{name}-{key}",
            resume="allow",
            config=dict(_flat(settings)),
            embed=False,
        )

    def log(self, seconds: int, figures: Figures) -> None:
        self._run.log({**figures, "seconds": seconds})

    def end(self, summary: Mapping[str, Any], *, failed: bool) -> None:
        self._run.log({name: value for name, value in summary.items() if isinstance(value, int | float)})
        self._run.finish()


Opened = Callable[[TrackConfig, str, str, Mapping[str, Any], Path], Tracker]
"""From the config, the run's name there, its key, its settings and its folder; the same key goes on with the run."""
TRACKERS: Mapping[str, Opened] = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f'observe.track: {name} is not installed: pip install "datagen-engine[{name}]"'
        ) from None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        key = f"{prefix}{name}"
        found += _flat(value, f"{key}.") if isinstance(value, Mapping) and value else [(key, value)]
    return found


class Tracking:
    """The figures of one start, sent now and then. A tracker that fails is told of once, and let be.

    Mutable state: whether it still works.
    """

    def __init__(self, config: TrackConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._tracker: Tracker | None = None

    async def begin(self, key: str, settings: Mapping[str, Any], folder: Path) -> None:
        """Raises ConfigError where the library is not there."""
        _library(self._config.to)
        name = self._config.name or folder.name
        opened = TRACKERS[self._config.to]
        try:
            self._tracker = await asyncio.to_thread(opened, self._config, name, key, settings, folder)
        except Exception as error:  # theirs, of any kind: a run goes on without its tracker
            self._failed(error)

    @asynccontextmanager
    async def during(self, figures: Callable[[], tuple[float, Figures]]) -> AsyncIterator[None]:
        """Sends figures while the block lasts, and once more at its end."""

        async def send() -> None:
            seconds, values = figures()
            await self._guarded(lambda tracker: tracker.log(int(seconds), values))

        async def work() -> None:
            while True:
                await send()
                await asyncio.sleep(self._config.every_s)

        task = asyncio.create_task(work(), name="track")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await send()

    async def end(self, summary: Mapping[str, Any]) -> None:
        failed = summary["outcome"] == "fatal"
        await self._guarded(lambda tracker: tracker.end(summary, failed=failed))

    async def _guarded(self, work: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            await asyncio.to_thread(work, self._tracker)
        except Exception as error:  # as above
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._tracker = None
        said = f"{type(error).__name__}: {error}"
        self._say(f"observe.track: {self._config.to} failed, and gets no more: {said}")
