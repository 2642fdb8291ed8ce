"""An OpenTelemetry span for each call, named by its semantic conventions for generative AI."""

from __future__ import annotations

from typing import Any

from engine.errors import ConfigError
from engine.items import Completion, usd
from engine.llm.call import CallEnded

_NANO = 1_000_000_000


class Traces:
    """Sends spans to the tracer provider that the program has set up, else to OTLP as the environment says.

    Mutable state: the provider, if it is our own.
    """

    def __init__(self) -> None:
        """Raises ConfigError where the packages are missing."""
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            raise ConfigError(_MISSING) from None
        self._own: Any = None
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            provider = self._own = _exporting()
        self._trace = trace
        self._tracer = provider.get_tracer("datagen")

    def call(self, ended: CallEnded) -> None:
        """Records a call that has ended, as a span of its duration."""
        prompt, outcome = ended.prompt, ended.outcome
        began = int(ended.began * _NANO)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "embeddings" if prompt.purpose == "embedding" else "chat",
            "gen_ai.request.temperature": prompt.temperature,
            "gen_ai.request.max_tokens": prompt.max_tokens,
            "datagen.purpose": prompt.purpose,
            "datagen.key": prompt.key,
            "datagen.endpoint": ended.endpoint,
        }
        name = prompt.purpose
        if isinstance(outcome, Completion):
            name = f"chat {outcome.model}"
            attributes |= {
                "gen_ai.response.model": outcome.model,
                "gen_ai.response.finish_reasons": [outcome.finish_reason],
                "gen_ai.usage.input_tokens": outcome.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": outcome.usage.completion_tokens,
                "datagen.attempts": outcome.attempts,
                "datagen.usd": usd(outcome.usage.cost),
            }
        else:
            attributes["error.type"] = outcome.reason
        span = self._tracer.start_span(
            name, kind=self._trace.SpanKind.CLIENT, start_time=began, attributes=attributes
        )
        if not isinstance(outcome, Completion):
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, str(outcome)))
        span.end(end_time=began + int(ended.seconds * _NANO))

    def close(self) -> None:
        """Sends the remaining spans, for a few seconds at most."""
        if self._own is not None:
            self._own.shutdown()


_MISSING = "observe.traces: needs OpenTelemetry: pip install 'datagen-engine[traces]'"


def _exporting() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(_MISSING) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "datagen"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
    return provider
