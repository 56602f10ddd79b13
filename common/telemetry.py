"""OpenTelemetry for one process: metrics for Prometheus always, traces when a collector is configured."""

from collections.abc import Sequence
from typing import Any

import grpc
from opentelemetry import metrics, trace
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
