"""`/metrics` in Prometheus' text format, made when it is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError
from engine.llm.client import CallCounts
from engine.llm.endpoint import Endpoint
from engine.llm.limiter import LimiterStatistics

HOST = "127.0.0.1"
_QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Reading:
    """What a run shows, at one moment."""

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


Look = Callable[[], Reading]


@asynccontextmanager
async def metrics_server(port: int, look: Look) -> AsyncIterator[int]:
    """Serves on loopback while the block lasts; the port. Raises ConfigError where it is taken."""
    from aiohttp import web
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Run(look))

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


class _Run:
    """A prometheus_client Collector: nothing is counted twice, the run's own counts are read."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        seen = self._look()
        counts = seen.counts
        items = CounterMetricFamily("datagen_items", "Items decided, over all starts", labels=["state"])
        for state in ("accepted", "rejected", "surplus"):
            items.add_metric([state], getattr(seen, state))
        yield items
        yield GaugeMetricFamily("datagen_target_items", "Accepted items wanted", seen.target)
        yield CounterMetricFamily("datagen_spent_dollars", "Spent, over all starts", seen.spent_usd)
        if seen.cap_usd is not None:
            yield GaugeMetricFamily("datagen_cap_dollars", "The ceiling", seen.cap_usd)
        calls = CounterMetricFamily(
            "datagen_calls", "Calls of this start by what became of them", labels=["outcome"]
        )
        for outcome in ("completed", "replayed", "retried", "rate_limited", "failed", "hedged"):
            calls.add_metric([outcome], getattr(counts, outcome))
        yield calls
        errors = CounterMetricFamily(
            "datagen_failed_attempts", "Failed attempts of this start", labels=["kind"]
        )
        for kind, count in counts.errors.items():
            errors.add_metric([kind], count)
        yield errors
        tokens = CounterMetricFamily("datagen_tokens", "Tokens of this start", labels=["kind"])
        tokens.add_metric(["prompt"], counts.prompt_tokens)
        tokens.add_metric(["completion"], counts.completion_tokens)
        yield tokens
        yield GaugeMetricFamily("datagen_calls_in_flight", "Calls in flight", seen.limiter.in_flight)
        yield GaugeMetricFamily("datagen_calls_waiting", "Calls waiting for their turn", seen.limiter.waiting)
        queues = GaugeMetricFamily("datagen_queued", "Values waiting before a stage", labels=["stage"])
        for stage, queued in seen.queues.items():
            queues.add_metric([stage], queued)
        yield queues
        limits = GaugeMetricFamily("datagen_concurrency", "Calls that may be in flight", labels=["endpoint"])
        latency = SummaryMetricFamily(
            "datagen_call_seconds", "How long calls take", labels=["endpoint", "purpose"]
        )
        quantiles = GaugeMetricFamily(
            "datagen_call_seconds_quantile",
            "Of recent calls, within 10 %",
            labels=["endpoint", "purpose", "quantile"],
        )
        for endpoint in seen.endpoints:
            limits.add_metric([endpoint.name], endpoint.concurrency.limit)
            for purpose, latencies in endpoint.latencies.items():
                latency.add_metric([endpoint.name, purpose], latencies.count, latencies.sum)
                for share in _QUANTILES:
                    quantiles.add_metric([endpoint.name, purpose, str(share)], latencies.quantile(share))
        yield limits
        yield latency
        yield quantiles
