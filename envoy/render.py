"""The bootstrap of one sidecar, from its description. Envoy reads it as JSON."""

import json
from pathlib import Path

from envoy.clusters import Json, any_of, local_cluster, ops_cluster, service_cluster, socket_address
from envoy.listeners import DIALECTS_CLUSTER, egress_listener, ingress_listener, public_listener
from envoy.sidecar import Ingress, Sidecar

MAX_CONNECTIONS = 10_000


def render(sidecar: Sidecar) -> Json:
    """The bootstrap as JSON data."""
    listeners = [
        ingress_listener(sidecar, ingress, _ingress_cluster(sidecar, ingress)) for ingress in sidecar.ingress
    ]
    if sidecar.egress:
        listeners.append(egress_listener(sidecar, sidecar.egress))
    if sidecar.public:
        listeners.append(public_listener(sidecar, sidecar.public))
    return {
        "node": {"id": sidecar.name, "cluster": "voxmesh"},
        "admin": {"address": socket_address(sidecar.admin), "ignore_global_conn_limit": True},
        "overload_manager": {"resource_monitors": [_connection_limit()]},
        "static_resources": {"listeners": listeners, "clusters": _clusters(sidecar)},
    }


def write(sidecar: Sidecar, path: Path) -> Path:
    """Renders into a file that Envoy can be started with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(render(sidecar), indent=1) + "\n", encoding="utf-8")
    return path


def _ingress_cluster(sidecar: Sidecar, ingress: Ingress) -> str:
    # Where one Envoy plays every sidecar, the processes behind a port are also the upstream of that name.
    same = sidecar.upstreams.get(ingress.service) == ingress.processes
    return ingress.service if same else f"{ingress.service}_local"


def _clusters(sidecar: Sidecar) -> list[Json]:
    clusters = [service_cluster(name, endpoints) for name, endpoints in sidecar.upstreams.items()]
    if sidecar.dialects:
        clusters.append(local_cluster(DIALECTS_CLUSTER, (sidecar.dialects,)))
    for ingress in sidecar.ingress:
        name = _ingress_cluster(sidecar, ingress)
        if name not in sidecar.upstreams:
            clusters.append(local_cluster(name, ingress.processes))
        if ingress.ops:
            clusters.append(ops_cluster(f"{ingress.service}_ops", ingress.ops))
    return clusters


def _connection_limit() -> Json:
    kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    typed = any_of(kind, max_active_downstream_connections=MAX_CONNECTIONS)
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": typed}
