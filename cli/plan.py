"""The processes of a mesh on one machine, and how each is told about the others."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cli import probes, threads
from cli.paths import ROOT
from cli.ports import free_ports
from cli.supervisor import Program
from envoy.binary import arguments
from envoy.sidecar import ADMIN_PORT, EGRESS_PORT, PUBLIC_GRPC_PORT, SERVICE_PORTS, Endpoint, Ingress, Sidecar

EDGE_PORT = 7100
LOOPBACK = "127.0.0.1"
# The edge says goodbye while everything behind it still answers; the licence outlives what reports to it.
STOP_RANK = {"edge": 0, "asr": 1, "tts": 1, "session": 2, "license": 3, "envoy": 4, "redis": 4}
GRACE_S = 10
REDIS_MEMORY = "256mb"


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a mesh that people and other programs know."""

    edge: int = EDGE_PORT
    grpc: int = PUBLIC_GRPC_PORT
    asr: int = SERVICE_PORTS["asr"]
    tts: int = SERVICE_PORTS["tts"]
    license: int = SERVICE_PORTS["license"]
    session: int = SERVICE_PORTS["session"]
    egress: int = EGRESS_PORT
    admin: int = ADMIN_PORT

    @classmethod
    def free(cls) -> "Ports":
        """All of them free ones, for a second mesh beside a first."""
        return cls(*free_ports(8))

    def at(self, host: str) -> dict[str, list[int]]:
        """Which of them are bound on which host."""
        inside = [self.asr, self.tts, self.license, self.session, self.egress, self.admin]
        if host == LOOPBACK:
            return {host: [self.edge, self.grpc, *inside]}
        return {host: [self.edge, self.grpc], LOOPBACK: inside}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `up` was asked for.

    Attributes:
        model, voice: names or URLs, several with commas; empty leaves the services' defaults.
        redis_url: a Redis that runs elsewhere; empty starts one.
        extra_env: variables for every service.
    """

    state_dir: Path
    cache_dir: Path
    host: str = LOOPBACK
    ports: Ports = Ports()
    model: str = ""
    voice: str = ""
    redis_url: str = ""
    asr_workers: int = 1
    cores: int = 1
    extra_env: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Private loopback ports of one service process; `grpc` is the edge's, for clients of other vendors."""

    port: int
    ops: int
    grpc: int = 0


def places(wishes: Wishes) -> dict[str, Place]:
    """A place for every service process: edge, license, session, tts, asr, asr-2, ..."""
    asr = ["asr", *(f"asr-{n}" for n in range(2, wishes.asr_workers + 1))]
    names = ["edge", "license", "session", "tts", *asr]
    *ports, grpc = free_ports(2 * len(names) + 1)
    found = {name: Place(ports[2 * i], ports[2 * i + 1]) for i, name in enumerate(names)}
    return {**found, "edge": replace(found["edge"], port=wishes.ports.edge, grpc=grpc)}


def sidecar(wishes: Wishes, at: Mapping[str, Place]) -> Sidecar:
    """The one Envoy that plays every sidecar of this machine."""
    workers = {service: [p for n, p in at.items() if n.split("-")[0] == service] for service in SERVICE_PORTS}
    upstreams = {
        service: tuple(Endpoint(LOOPBACK, p.port) for p in found) for service, found in workers.items()
    }
    ingress = tuple(
        Ingress(
            service,
            listen=Endpoint(LOOPBACK, getattr(wishes.ports, service)),
            processes=upstreams[service],
            ops=tuple(Endpoint(LOOPBACK, p.ops) for p in found),
        )
        for service, found in workers.items()
    )
    return Sidecar(
        name="voxmesh",
        ingress=ingress,
        upstreams=upstreams,
        egress=Endpoint(LOOPBACK, wishes.ports.egress),
        public=Endpoint(wishes.host, wishes.ports.grpc),
        dialects=Endpoint(LOOPBACK, at["edge"].grpc) if at["edge"].grpc else None,
        admin=Endpoint(LOOPBACK, wishes.ports.admin),
        drain_s=GRACE_S,
    )


def programs(
    wishes: Wishes, at: Mapping[str, Place], *, envoy: Path, bootstrap: Path, redis: Path | None
) -> list[Program]:
    """Every process of the mesh. `redis` is None when a Redis elsewhere is used."""
    started = []
    redis_url = wishes.redis_url
    if redis is not None:
        port = free_ports(1)[0]
        redis_url = f"redis://{LOOPBACK}:{port}"
        started.append(_redis(redis, port, wishes.state_dir))
    started.append(_envoy(wishes, envoy, bootstrap))
    share = threads.shares(wishes.cores, wishes.asr_workers)
    for name, place in at.items():
        started.append(_service(wishes, name, place, redis_url, share.get(name.split("-")[0], 1)))
    return started


def _service(wishes: Wishes, name: str, place: Place, redis_url: str, cores: int) -> Program:
    service = name.split("-")[0]
    public = service == "edge"
    env: dict[str, str | None] = {
        **(wishes.extra_env or {}),
        **threads.environment(cores),
        "HOST": wishes.host if public else LOOPBACK,
        "PORT": str(place.port),
        "OPS_HOST": LOOPBACK,
        "OPS_PORT": str(place.ops),
        "MESH_ADDRESS": f"{LOOPBACK}:{wishes.ports.egress}",
        "REDIS_URL": redis_url,
        "VOXMESH_STATE_DIR": str(wishes.state_dir),
        "MODEL_CACHE_DIR": str(wishes.cache_dir),
        "SHUTDOWN_GRACE_S": str(GRACE_S),
        "DRAIN_NOTICE_S": "0",  # everything ends: there is nowhere else to send work
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    if public:
        env["EDGE_SIDECAR_ADMIN"] = f"{LOOPBACK}:{wishes.ports.admin}"
    if place.grpc:
        env["EDGE_GRPC_PORT"] = str(place.grpc)
    if service == "asr" and wishes.model:
        env["MODEL_URL"] = wishes.model
    if service == "tts":
        env["MODEL_URL"] = None  # in a shared environment it names the speech model
        if wishes.voice:
            env["TTS_VOICES"] = wishes.voice
    return Program(
        name=name,
        # -P: nothing in the caller's directory may stand in for a module of ours.
        argv=(sys.executable, "-P", "-m", service),
        env=env,
        ready=probes.ready(place.port, "/health") if public else probes.ready(place.ops),
        alive=probes.responds(place.port if public else place.ops, "/health"),
        stop_rank=STOP_RANK[service],
        port=getattr(wishes.ports, service),
        grace_s=GRACE_S + 5,
    )


def _envoy(wishes: Wishes, binary: Path, bootstrap: Path) -> Program:
    return Program(
        name="envoy",
        argv=tuple(arguments(binary, bootstrap, concurrency=1 if wishes.cores <= 4 else 2, drain_s=GRACE_S)),
        ready=probes.ready(wishes.ports.admin),
        alive=probes.responds(wishes.ports.admin, "/ready"),
        stop_rank=STOP_RANK["envoy"],
        port=wishes.ports.grpc,
    )


def _redis(binary: Path, port: int, state_dir: Path) -> Program:
    options = {
        "--bind": LOOPBACK,
        "--port": str(port),
        "--dir": str(state_dir),
        "--save": "",  # nothing in it is worth a disk write: every service goes on without it
        "--appendonly": "no",
        "--daemonize": "no",
        "--maxmemory": REDIS_MEMORY,
        "--maxmemory-policy": "volatile-ttl",
    }
    argv = [str(binary), *(word for pair in options.items() for word in pair)]
    ping = probes.redis_ping(port)
    return Program("redis", tuple(argv), ready=ping, alive=ping, stop_rank=STOP_RANK["redis"], port=port)
