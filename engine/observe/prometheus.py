"""`/metrics` in Prometheus' text format, generated on each request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError
from engine.llm.call import CallCounts
from engine.llm.endpoint import Endpoint
from engine.llm.limiter import LimiterStatistics

HOST = "127.0.0.1"
_SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Figures:
    """What a run shows at one moment."""

    accepted: int
    rejected: int
    surplus: int
    target: int
    spent_usd: float
    cap_usd: float | None
    counts: CallCounts
    limiter: LimiterStatistics
    endpoints: tuple[Endpoint, ...]
    queues: dict[str, int]


ReadFigures = Callable[[], Figures]


@asynccontextmanager
async def metrics_server(port: int, read: ReadFigures) -> AsyncIterator[int]:
    """Serves on loopback while the block lasts; yields the port. Raises ConfigError where it is in use."""
    from aiohttp import web
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Run(read))

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise ConfigError(f"observe.prometheus_port: {port}: {error.strerror or error}") from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


Samples = Mapping[Any, float]
"""Values by the tuple of their labels."""


class _Run:
    """A prometheus_client Collector: it reads the run's own counts and keeps none itself."""

    def __init__(self, read: ReadFigures) -> None:
        self._read = read

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        seen = self._read()
        for name, said, labels, samples in (*_counters(seen), *_seconds(seen)):
            yield _family(CounterMetricFamily, name, said, labels, samples)
        for name, said, labels, samples in (*_gauges(seen), *_quantiles(seen)):
            yield _family(GaugeMetricFamily, name, said, labels, samples)


MetricFamily = tuple[str, str, tuple[str, ...], Samples]
_OUTCOMES = ("completed", "replayed", "retried", "rate_limited", "failed", "hedged")


def _counters(seen: Figures) -> Iterator[MetricFamily]:
    counts = seen.counts
    states = {"accepted": seen.accepted, "rejected": seen.rejected, "surplus": seen.surplus}
    outcomes = {outcome: getattr(counts, outcome) for outcome in _OUTCOMES}
    tokens = {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens}
    yield "datagen_items", "Items decided, over all starts", ("state",), _by_one(states)
    yield "datagen_spent_dollars", "Spent, over all starts", (), {(): seen.spent_usd}
    yield "datagen_calls", "Calls of this start by outcome", ("outcome",), _by_one(outcomes)
    yield "datagen_failed_attempts", "Failed attempts of this start", ("kind",), _by_one(counts.errors)
    yield "datagen_tokens", "Tokens of this start", ("kind",), _by_one(tokens)


def _gauges(seen: Figures) -> Iterator[MetricFamily]:
    limits = {endpoint.name: endpoint.concurrency.limit for endpoint in seen.endpoints}
    yield "datagen_target_items", "Accepted items wanted", (), {(): seen.target}
    if seen.cap_usd is not None:
        yield "datagen_cap_dollars", "The ceiling", (), {(): seen.cap_usd}
    yield "datagen_calls_in_flight", "Calls in flight", (), {(): seen.limiter.in_flight}
    yield "datagen_calls_waiting", "Calls waiting for their turn", (), {(): seen.limiter.waiting}
    yield "datagen_queued", "Values waiting before a stage", ("stage",), _by_one(seen.queues)
    yield "datagen_concurrency", "Calls that may be in flight", ("endpoint",), _by_one(limits)


def _seconds(seen: Figures) -> Iterator[MetricFamily]:
    labels = ("endpoint", "purpose")
    known = [(endpoint, *pair) for endpoint in seen.endpoints for pair in endpoint.latencies.items()]
    counts = {(endpoint.name, purpose): float(latencies.count) for endpoint, purpose, latencies in known}
    sums = {(endpoint.name, purpose): latencies.sum for endpoint, purpose, latencies in known}
    yield "datagen_answered_calls", "Calls of this start by endpoint and purpose", labels, counts
    yield "datagen_answered_calls_seconds", "Total seconds that these calls took", labels, sums


def _quantiles(seen: Figures) -> Iterator[MetricFamily]:
    samples = {
        (endpoint.name, purpose, str(share)): latencies.quantile(share)
        for endpoint in seen.endpoints
        for purpose, latencies in endpoint.latencies.items()
        for share in _SHARES
    }
    labels = ("endpoint", "purpose", "quantile")
    yield "datagen_call_seconds", "Seconds that recent calls took, within 10 %", labels, samples


def _by_one(values: Mapping[str, float]) -> Samples:
    return {(name,): value for name, value in values.items()}


def _family(kind: Any, name: str, said: str, labels: tuple[str, ...], samples: Samples) -> Any:
    family = kind(name, said, labels=labels)
    for values, sample in samples.items():
        family.add_metric(values, sample)
    return family
