"""The compose file describes the same mesh as the command line starts."""

import re
from typing import Any

import pytest
import yaml

from common.settings import ServiceSettings, variables
from edge.settings import EdgeSettings
from envoy.__main__ import PROCESS_PORT_OFFSET, from_environment
from envoy.sidecar import GRPC_SERVICES, SERVICE_PORTS, Sidecar
from license.settings import LicenseSettings
from tests.conftest import REPOSITORY
from tts.settings import TtsSettings

SETTINGS: dict[str, type[ServiceSettings]] = {
    "edge": EdgeSettings,
    "license": LicenseSettings,
    "tts": TtsSettings,
}
DEFAULT = re.compile(r"\$\{[A-Z_]+:-([^}]*)\}")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    return dict(found["services"])


def environment(service: dict[str, Any]) -> dict[str, str]:
    """With the defaults of its ${VARIABLES} filled in."""
    return {name: DEFAULT.sub(r"\1", value) for name, value in service["environment"].items()}


def sidecar(services: dict[str, Any], name: str) -> Sidecar:
    return from_environment(environment(services[f"{name}-envoy"]))


@pytest.mark.parametrize("name", [*GRPC_SERVICES, "edge"])
def test_a_process_lives_in_the_network_of_its_sidecar(services: dict[str, Any], name: str) -> None:
    assert services[name]["network_mode"] == f"service:{name}-envoy"
    assert services[name]["command"] == ["python", "-m", name]
    assert name in services[f"{name}-envoy"]["networks"]["default"]["aliases"]


@pytest.mark.parametrize("name", GRPC_SERVICES)
def test_the_sidecar_finds_the_process(services: dict[str, Any], name: str) -> None:
    env = environment(services[name])
    assert env["HOST"] == "127.0.0.1"
    assert int(env["PORT"]) == SERVICE_PORTS[name] + PROCESS_PORT_OFFSET
    ingress = sidecar(services, name).ingress[0]
    assert ingress.processes[0].port == int(env["PORT"])
    assert ingress.ops[0].port == int(env["OPS_PORT"])


CALLED = {"edge": set(GRPC_SERVICES), "session": {"license"}, "asr": {"session"}, "tts": {"session"}}


@pytest.mark.parametrize("name", CALLED)
def test_callers_find_everyone_they_call(services: dict[str, Any], name: str) -> None:
    found = sidecar(services, name)
    assert str(found.egress) == environment(services[name])["MESH_ADDRESS"]
    for service, endpoints in found.upstreams.items():
        assert [(e.host, e.port) for e in endpoints] == [(service, SERVICE_PORTS[service])]
    assert set(found.upstreams) == CALLED[name]


def test_the_public_listener_finds_the_grpc_port_of_the_edge(services: dict[str, Any]) -> None:
    assert (
        str(sidecar(services, "edge").dialects)
        == f"127.0.0.1:{environment(services['edge'])['EDGE_GRPC_PORT']}"
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_one_that_is_read(services: dict[str, Any], name: str) -> None:
    ours = {key for key in environment(services[name]) if not key.startswith("OMP_")}
    assert ours <= variables(SETTINGS[name])


def test_only_the_edge_is_published_and_on_loopback_unless_asked(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["edge-envoy"]
    assert all(port.startswith("${VOXMESH_BIND:-127.0.0.1}:") for port in services["edge-envoy"]["ports"])


def test_every_container_is_watched_and_comes_back(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_who_reports_usage_stops_before_who_writes_it_down(services: dict[str, Any]) -> None:
    def needs(name: str) -> set[str]:
        found = set(services[name].get("depends_on", ()))
        return found.union(*(needs(other) for other in found))

    assert {"asr", "tts", "session", "license"} <= needs("edge")
    assert {"session", "license"} <= needs("asr") & needs("tts")
    assert "license" in needs("session") and needs("license") == {"license-envoy"}
