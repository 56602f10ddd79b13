"""How a mesh on one machine is laid out."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli import threads
from cli.plan import LOOPBACK, STOP_RANK, Place, Ports, Wishes, places, programs, sidecar
from cli.supervisor import Program
from envoy.sidecar import Endpoint

WISHES = Wishes(state_dir=Path("/state"), cache_dir=Path("/cache"), cores=4)
AT = {
    "edge": Place(7100, 9000),
    "license": Place(9011, 9001),
    "session": Place(9012, 9002),
    "tts": Place(9013, 9003),
    "asr": Place(9014, 9004),
    "asr-2": Place(9015, 9005),
}


def planned(wishes: Wishes = WISHES, redis: Path | None = None) -> dict[str, Program]:
    found = programs(wishes, AT, envoy=Path("/bin/envoy"), bootstrap=Path("/state/envoy.json"), redis=redis)
    return {program.name: program for program in found}


def test_the_edge_stops_first_and_the_licence_after_those_who_report_to_it() -> None:
    order = sorted(STOP_RANK, key=lambda name: STOP_RANK[name])
    assert order[0] == "edge"
    assert STOP_RANK["license"] > max(STOP_RANK[name] for name in ("asr", "tts", "session", "edge"))


def test_services_reach_one_another_through_the_sidecar_only() -> None:
    for name in AT:
        env = planned()[name].env
        assert env["MESH_ADDRESS"] == f"{LOOPBACK}:15001"
        others = {str(place.port) for other, place in AT.items() if other != name}
        assert not others & set(env.values())


def test_only_the_edge_and_the_public_listener_leave_loopback() -> None:
    wishes = replace(WISHES, host="0.0.0.0")
    hosts = {name: program.env["HOST"] for name, program in planned(wishes).items() if name in AT}
    assert hosts.pop("edge") == "0.0.0.0"
    assert set(hosts.values()) == {LOOPBACK}
    described = sidecar(wishes, AT)
    assert described.public and described.public.host == "0.0.0.0"
    assert {ingress.listen.host for ingress in described.ingress} == {LOOPBACK}


def test_every_recognition_worker_is_an_endpoint() -> None:
    assert [e.port for e in sidecar(WISHES, AT).upstreams["asr"]] == [9014, 9015]
    assert "edge" not in sidecar(WISHES, AT).upstreams


def test_the_public_listener_finds_the_grpc_port_of_the_edge() -> None:
    at = {**AT, "edge": replace(AT["edge"], grpc=9020)}
    assert sidecar(WISHES, at).dialects == Endpoint(LOOPBACK, 9020)
    found = programs(WISHES, at, envoy=Path("/bin/envoy"), bootstrap=Path("/state/envoy.json"), redis=None)
    ports = {program.name: program.env.get("EDGE_GRPC_PORT") for program in found}
    assert ports.pop("edge") == "9020"
    assert set(ports.values()) == {None}
    assert places(WISHES)["edge"].grpc


def test_model_and_voice_reach_their_services() -> None:
    wishes = replace(WISHES, model="whisper-tiny.en", voice="joe")
    assert planned(wishes)["asr"].env["MODEL_URL"] == "whisper-tiny.en"
    assert planned(wishes)["tts"].env["TTS_VOICES"] == "joe"
    assert planned(wishes)["tts"].env["MODEL_URL"] is None
    assert "MODEL_URL" not in planned()["asr"].env


def test_a_redis_elsewhere_is_used_as_it_is() -> None:
    wishes = replace(WISHES, redis_url="redis://elsewhere:6379")
    assert "redis" not in planned(wishes)
    assert planned(wishes)["session"].env["REDIS_URL"] == "redis://elsewhere:6379"


def test_a_redis_of_our_own_writes_nothing_to_disk() -> None:
    found = planned(redis=Path("/bin/redis-server"))
    argv = found["redis"].argv
    assert argv[argv.index("--save") + 1] == "" and argv[argv.index("--appendonly") + 1] == "no"
    assert argv[argv.index("--bind") + 1] == LOOPBACK
    port = argv[argv.index("--port") + 1]
    assert found["session"].env["REDIS_URL"] == f"redis://{LOOPBACK}:{port}"


def test_ports_are_checked_where_they_are_bound() -> None:
    assert Ports().at("0.0.0.0")["0.0.0.0"] == [7100, 7200]
    assert set(Ports().at(LOOPBACK)[LOOPBACK]) >= {7100, 7200, 2233, 8876, 6699, 6380}


@pytest.mark.parametrize(
    ("cores", "workers", "expected"),
    [(1, 1, (1, 1)), (2, 1, (2, 1)), (4, 1, (3, 1)), (16, 1, (12, 4)), (16, 3, (4, 4)), (2, 4, (1, 1))],
)
def test_cores_are_shared_out(cores: int, workers: int, expected: tuple[int, int]) -> None:
    found = threads.shares(cores, workers)
    assert (found["asr"], found["tts"]) == expected


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 10_000), ("100000 100000", 1), ("50000 100000", 1)]
)
def test_a_container_quota_counts(tmp_path: Path, quota: str, most: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert 1 <= threads.usable_cores(file) <= most


def test_idle_threads_sleep() -> None:
    env = threads.environment(3)
    assert env["OMP_NUM_THREADS"] == "3" and env["OMP_WAIT_POLICY"] == "PASSIVE"
