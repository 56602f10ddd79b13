"""Listeners: the service ports, the egress of local processes, and the public gRPC port."""

from typing import Any

from common.caller import FEATURES_HEADER, KEY_ID_HEADER, LEASE_HEADER, MAX_AUDIO_HEADER
from envoy.clusters import (
    CONNECTION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    Json,
    any_of,
    keepalive,
    socket_address,
)
from envoy.sidecar import DIALECT_SERVICES, GRPC_SERVICES, Endpoint, Ingress, Sidecar

_HTTP = "envoy.extensions.filters.http"
_EXT_AUTHZ = "envoy.filters.http.ext_authz"
_HEALTH = "/grpc.health.v1.Health/"
_REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")
_OPS_PATHS = ("/health", "/ready", "/metrics")

# Who a caller is gets said by the licence service alone; the same headers from outside are dropped.
IDENTITY_HEADERS = (KEY_ID_HEADER, LEASE_HEADER, FEATURES_HEADER, MAX_AUDIO_HEADER, "x-voxmesh-customer")
DIALECTS_CLUSTER = "edge_dialects"
# Picks the service whose health is asked for through the egress listener.
SERVICE_HEADER = "x-voxmesh-service"


def ingress_listener(sidecar: Sidecar, ingress: Ingress, cluster: str) -> Json:
    """A service port: gRPC to the process, the ops paths over HTTP/1 to its ops port."""
    ops = [
        {"match": {"path": path}, "route": {"cluster": f"{ingress.service}_ops", "timeout": "5s"}}
        for path in _OPS_PATHS
        if ingress.ops
    ]
    routes = [_stream_route(sidecar, {"prefix": "/", "grpc": {}}, cluster), *ops, _not_found()]
    return _listener(sidecar, f"ingress_{ingress.service}", ingress.listen, routes)


def egress_listener(sidecar: Sidecar, listen: Endpoint) -> Json:
    """Where local processes send their calls: the gRPC service in the path decides the cluster."""
    routes = [route for cluster in sidecar.upstreams for route in _service_routes(sidecar, cluster)]
    for cluster in sidecar.upstreams:
        header = {"name": SERVICE_HEADER, "string_match": {"exact": cluster}}
        routes.append(_unary_route(sidecar, {"prefix": _HEALTH, "headers": [header]}, cluster))
    return _listener(sidecar, "egress", listen, [*routes, _not_found()])


def public_listener(sidecar: Sidecar, listen: Endpoint) -> Json:
    """gRPC for clients outside: speech services behind a key, health for probes without one."""
    health = _unauthorized(_unary_route(sidecar, {"prefix": _HEALTH}, "asr"))
    routes = [route for cluster in ("asr", "tts") for route in _service_routes(sidecar, cluster)]
    if sidecar.dialects:  # the edge admits its callers itself and needs their key for it
        dialects = [{"prefix": f"/{name}/"} for name in DIALECT_SERVICES]
        routes += [_unauthorized(_stream_route(sidecar, match, DIALECTS_CLUSTER)) for match in dialects]
    routes += [_stream_route(sidecar, {"prefix": path}, "asr") for path in _REFLECTION]
    return _listener(sidecar, "public", listen, [health, *routes, _not_found()], authorize=True)


def _unauthorized(route: Json) -> Json:
    disabled = any_of(f"{_HTTP}.ext_authz.v3.ExtAuthzPerRoute", disabled=True)
    return {**route, "typed_per_filter_config": {_EXT_AUTHZ: disabled}}


def _service_routes(sidecar: Sidecar, cluster: str) -> list[Json]:
    build = _stream_route if cluster in ("asr", "tts") else _unary_route
    return [build(sidecar, {"prefix": f"/{name}/"}, cluster) for name in GRPC_SERVICES[cluster]]


def _stream_route(sidecar: Sidecar, match: Json, cluster: str) -> Json:
    # Envoy ends a call after 15 s unless told not to; a stream ends when its client or the service says so.
    route = {"cluster": cluster, "timeout": "0s", "idle_timeout": f"{sidecar.stream_idle_s}s"}
    return {"match": match, "route": {**route, "retry_policy": _retries()}}


def _unary_route(sidecar: Sidecar, match: Json, cluster: str) -> Json:
    route = {"cluster": cluster, "timeout": f"{sidecar.unary_timeout_s}s", "retry_policy": _retries()}
    return {"match": match, "route": route}


def _not_found() -> Json:
    return {"match": {"prefix": "/"}, "direct_response": {"status": 404}}


def _retries() -> Json:
    # Only what the service cannot have seen is sent again; replaying audio is the edge's business.
    return {
        "retry_on": "connect-failure,refused-stream",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": any_of(
                    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                ),
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }


def _listener(
    sidecar: Sidecar, name: str, listen: Endpoint, routes: list[Json], *, authorize: bool = False
) -> Json:
    manager = any_of(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="AUTO",
        stream_idle_timeout=f"{sidecar.stream_idle_s}s",
        request_timeout="0s",
        drain_timeout="5s",
        common_http_protocol_options={"idle_timeout": f"{sidecar.stream_idle_s}s"},
        http2_protocol_options={
            # Some clients open hundreds of streams on one connection and take a refusal as final.
            "max_concurrent_streams": 2048,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
            "connection_keepalive": keepalive(),
        },
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        server_header_transformation="PASS_THROUGH",
        access_log=[_access_log(name)],
        route_config={"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        http_filters=[*([_ext_authz()] if authorize else []), _router()],
    )
    if authorize:
        manager["early_header_mutation_extensions"] = [_drop_identity()]
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": name,
        "address": socket_address(listen),
        # A drain closes the inbound side only: local processes still have goodbyes to say.
        "traffic_direction": "OUTBOUND" if name == "egress" else "INBOUND",
        # One owner per port: a second process must fail to bind, not share the traffic silently.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [{"filters": [http]}],
    }


def _router() -> Json:
    typed = any_of(f"{_HTTP}.router.v3.Router", suppress_envoy_headers=True)
    return {"name": "envoy.filters.http.router", "typed_config": typed}


def _ext_authz() -> Json:
    headers = [{"exact": name} for name in ("authorization", "x-api-key", "x-request-id", "traceparent")]
    typed = any_of(
        f"{_HTTP}.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": "license"}, "timeout": "2s"},
        failure_mode_allow=False,
        # Without the licence service the honest answer is UNAVAILABLE, not "your key is bad".
        status_on_error={"code": "ServiceUnavailable"},
        allowed_headers={"patterns": headers},
    )
    return {"name": _EXT_AUTHZ, "typed_config": typed}


def _drop_identity() -> Json:
    typed = any_of(
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": name} for name in IDENTITY_HEADERS],
    )
    return {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": typed}


def _access_log(listener: str) -> Json:
    # No query, no bodies, no authorization: what a caller says and who they are stay out of the logs.
    fields: dict[str, Any] = {
        "time": "%START_TIME%",
        "event": "access",
        "listener": listener,
        "request_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "flags": "%RESPONSE_FLAGS%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
        "duration_ms": "%DURATION%",
        "upstream": "%UPSTREAM_HOST%",
        "cluster": "%UPSTREAM_CLUSTER%",
    }
    probes = f"^({_HEALTH}.*|{'|'.join(_OPS_PATHS)})$"
    not_a_probe = {"name": ":path", "string_match": {"safe_regex": {"regex": probes}}, "invert_match": True}
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"header_filter": {"header": not_a_probe}},
        "typed_config": any_of(
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", log_format={"json_format": fields}
        ),
    }
