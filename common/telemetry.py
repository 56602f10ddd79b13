"""OpenTelemetry for one process: metrics for Prometheus always, traces when a collector is configured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry import metrics, propagate, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_tracing = False


def configure(service: str, *, otlp_endpoint: str = "") -> None:
    """Sets the providers of this process. Call once, before any channel or server is made.

    Args:
        service: name of the service in traces and metrics.
        otlp_endpoint: gRPC address of an OTLP collector; empty sends no traces.
    """
    global _tracing
    resource = Resource.create({"service.name": service, "service.namespace": "voxmesh"})
    metrics.set_meter_provider(
        MeterProvider([PrometheusMetricReader(disable_target_info=True)], resource=resource)
    )
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
        trace.set_tracer_provider(provider)
        _tracing = True


def client_interceptors() -> Sequence[grpc.aio.ClientInterceptor]:
    """Interceptors that carry the trace to the next service; none without tracing, so none in the audio path."""
    if not _tracing:
        return []
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    interceptors: list[Any] = aio_client_interceptors()  # type: ignore[no-untyped-call]
    return interceptors


def server_interceptors() -> "Sequence[grpc.aio.ServerInterceptor[Any, Any]]":
    """Interceptors that go on with the caller's trace; none without tracing."""
    if not _tracing:
        return []
    from opentelemetry.instrumentation.grpc import aio_server_interceptor

    return [aio_server_interceptor()]  # type: ignore[no-untyped-call]


@contextmanager
def client_call(path: str) -> Iterator[list[tuple[str, str]]]:
    """Headers that carry the trace with a call of "/package.Service/Method"; the block is its span."""
    if not _tracing:
        yield []
        return
    service, _, method = path.strip("/").partition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    # Not made current: the block may be an asynchronous generator, whose context is its reader's.
    span = trace.get_tracer("voxmesh").start_span(
        path.strip("/"), kind=trace.SpanKind.CLIENT, attributes=attributes
    )
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=trace.set_span_in_context(span))
    try:
        yield list(carrier.items())
    finally:
        span.end()
