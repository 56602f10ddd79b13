"""What one Envoy process does: which services it fronts, which it can reach, what it shows to the public."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

# Public port of each service, as clients and operators know them.
SERVICE_PORTS = {"asr": 2233, "tts": 8876, "license": 6699, "session": 6380}
PUBLIC_GRPC_PORT = 7200
EGRESS_PORT = 15001
ADMIN_PORT = 15000

# gRPC services by the cluster that serves them: the whole routing table of the mesh.
GRPC_SERVICES = {
    "asr": ("voxmesh.asr.v1.AsrService",),
    "tts": ("voxmesh.tts.v1.TtsService",),
    "license": ("voxmesh.license.v1.LicenseService",),
    "session": ("voxmesh.session.v1.SessionService",),
}
# Dialects of other vendors that the edge speaks over gRPC, for its public listener.
DIALECT_SERVICES = ("nvidia.riva.asr.RivaSpeechRecognition", "nvidia.riva.tts.RivaSpeechSynthesis")


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host (address or DNS name) and a port."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port <= 65535:
            raise ValueError(f"not a host and port: {self.host!r}:{self.port}")

    @classmethod
    def parse(cls, text: str, *, default_port: int = 0) -> "Endpoint":
        """Reads "host:port", "[v6]:port", or a URL of these such as "http://asr:2233/".

        Raises:
            ValueError: no host, or a port that is none.
        """
        address = text.strip().split("://", 1)[-1].split("/", 1)[0]
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]"):
            host, port = address, str(default_port)
        if not port.isdigit():
            raise ValueError(f"not a host and port: {text!r}")
        return cls(host.strip("[]"), int(port))

    @property
    def is_address(self) -> bool:
        """Whether the host needs no DNS."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ingress:
    """A service port in front of local processes.

    gRPC goes to `processes`; HTTP/1 `/health`, `/ready` and `/metrics` go to `ops`.
    """

    service: str
    listen: Endpoint
    processes: tuple[Endpoint, ...]
    ops: tuple[Endpoint, ...] = ()

    def __post_init__(self) -> None:
        if self.service not in GRPC_SERVICES:
            raise ValueError(f"unknown service {self.service!r}; known: {', '.join(GRPC_SERVICES)}")
        if not self.processes:
            raise ValueError(f"{self.service}: an ingress needs a process to send calls to")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One Envoy process.

    Attributes:
        name: node name in logs and statistics.
        ingress: service ports this process owns.
        upstreams: endpoints of each service that can be reached from here.
        egress: where local processes send their calls; None has no egress.
        public: the listener for gRPC clients from outside; needs asr, tts and license upstream.
        dialects: where the edge speaks the gRPC of other vendors; None keeps them off the public listener.
        admin: statistics and drain control; keep it on loopback.
        stream_idle_s: a stream without a byte in either direction for this long is ended.
        unary_timeout_s: bound on calls to license and session, which answer at once or not at all.
        drain_s: how long open streams may go on after a drain has begun.
    """

    name: str
    ingress: tuple[Ingress, ...] = ()
    upstreams: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    egress: Endpoint | None = None
    public: Endpoint | None = None
    dialects: Endpoint | None = None
    admin: Endpoint = field(default_factory=lambda: Endpoint("127.0.0.1", ADMIN_PORT))
    stream_idle_s: int = 3600
    unary_timeout_s: int = 15
    drain_s: int = 20

    def __post_init__(self) -> None:
        for service, endpoints in self.upstreams.items():
            if service not in GRPC_SERVICES:
                raise ValueError(f"unknown upstream {service!r}; known: {', '.join(GRPC_SERVICES)}")
            if not endpoints:
                raise ValueError(f"upstream {service} has no endpoint")
        missing = {"asr", "tts", "license"} - set(self.upstreams)
        if self.public and missing:
            raise ValueError(f"the public listener needs upstreams for {', '.join(sorted(missing))}")
        if self.egress and not self.upstreams:
            raise ValueError("an egress listener needs at least one upstream")
