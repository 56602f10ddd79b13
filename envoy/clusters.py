"""Clusters: where calls go, how endpoints are watched, and what happens when one fails."""

from collections.abc import Sequence
from typing import Any

from envoy.sidecar import Endpoint

Json = dict[str, Any]

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# A batch upload or a long reading should not wait for window updates; a slow reader still stops the sender.
STREAM_WINDOW_BYTES = 1 << 20
CONNECTION_WINDOW_BYTES = 8 << 20


def any_of(kind: str, **fields: Any) -> Json:
    """A typed extension config."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def socket_address(endpoint: Endpoint) -> Json:
    return {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}


def keepalive() -> Json:
    """A peer that vanished without closing is noticed within 20 s even when no call is running."""
    return {"interval": "15s", "timeout": "5s", "interval_jitter": {"value": 10}}


def service_cluster(name: str, endpoints: Sequence[Endpoint]) -> Json:
    """gRPC workers of one service: least loaded first, watched by gRPC health checks."""
    return {
        **_cluster(name, endpoints),
        "load_balancing_policy": {"policies": [{"typed_extension_config": _least_request()}]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _http2()},
        "health_checks": [_grpc_health_check()],
        "outlier_detection": _outlier_detection(),
        # With no healthy worker the answer is UNAVAILABLE at once, not a call to a worker known to be dead.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "ignore_health_on_host_removal": True,
    }


def local_cluster(name: str, endpoints: Sequence[Endpoint]) -> Json:
    """The process beside this sidecar. Callers watch its health through us, so we do not watch it again."""
    return {**_cluster(name, endpoints), "typed_extension_protocol_options": {_HTTP_OPTIONS: _http2()}}


def ops_cluster(name: str, endpoints: Sequence[Endpoint]) -> Json:
    """HTTP/1 ops ports: health, readiness, metrics."""
    return _cluster(name, endpoints)


def _cluster(name: str, endpoints: Sequence[Endpoint]) -> Json:
    dns = not all(endpoint.is_address for endpoint in endpoints)
    return {
        "name": name,
        **({"cluster_type": _dns()} if dns else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        "circuit_breakers": {"thresholds": [_limits()]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": socket_address(e)}} for e in endpoints]}
            ],
        },
    }


def _dns() -> Json:
    # Every address behind a name is a worker of its own, and workers come and go.
    kind = "envoy.extensions.clusters.dns.v3.DnsCluster"
    typed = any_of(kind, dns_refresh_rate="2s", dns_lookup_family="V4_PREFERRED")
    return {"name": "envoy.cluster.dns", "typed_config": typed}


def _least_request() -> Json:
    # Streams last minutes, so it pays to look at every worker before choosing one.
    kind = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"
    typed = any_of(kind, selection_method="FULL_SCAN")
    return {"name": "envoy.load_balancing_policies.least_request", "typed_config": typed}


def _http2() -> Json:
    return any_of(
        _HTTP_OPTIONS,
        explicit_http_config={
            "http2_protocol_options": {
                "connection_keepalive": keepalive(),
                "initial_stream_window_size": STREAM_WINDOW_BYTES,
                "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
            }
        },
    )


def _limits() -> Json:
    # The services bound their own queues; these only keep a runaway caller from exhausting the proxy.
    return {
        "max_connections": 4096,
        "max_requests": 8192,
        "max_pending_requests": 2048,
        "max_retries": 64,
        "track_remaining": True,
    }


def _grpc_health_check() -> Json:
    # A worker that says NOT_SERVING leaves at once; one that does not answer leaves after two checks. The
    # no-traffic intervals matter: their default of a minute is how long a slow starter would stay failed.
    return {
        "timeout": "3s",
        "interval": "1s",
        "interval_jitter_percent": 10,
        "no_traffic_interval": "1s",
        "no_traffic_healthy_interval": "1s",
        "unhealthy_interval": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _outlier_detection() -> Json:
    # Only failures that say "this worker is broken" count (gRPC UNAVAILABLE, connection errors); an internal
    # error on one caller's odd input must not take the worker away from everyone else.
    return {
        "interval": "1s",
        "base_ejection_time": "2s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 50,
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
    }
