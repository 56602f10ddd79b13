"""The mesh starts, tells the truth about itself, mends itself, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.e2e.running import RunningMesh, alive

SERVICES = ("redis", "license", "session", "asr", "tts", "envoy", "edge")
# What /health of the edge must say while a service is gone; the others are no part of its promise.
MISSED = {"asr": "ASR", "tts": "TTS", "license": "icense", "session": "ession"}


def until(holds: Callable[[], bool], within_s: float, what: str) -> float:
    """Seconds it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < within_s:
        if holds():
            return time.monotonic() - begin
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


def health(mesh: RunningMesh) -> tuple[int, str]:
    """Status and reason; 0 when nobody answers."""
    try:
        answer = httpx.get(f"{mesh.url}/health", timeout=3)
    except httpx.HTTPError:
        return 0, ""
    return answer.status_code, str(answer.json().get("reason", ""))


def test_every_service_is_ready(mesh: RunningMesh) -> None:
    ready = {event["service"] for event in mesh.events if event["event"] == "ready"}
    assert ready == set(SERVICES) == set(mesh.pids)
    assert health(mesh) == (200, "")


def test_the_health_answer_names_its_parts(mesh: RunningMesh) -> None:
    body = httpx.get(f"{mesh.url}/health", params={"detailed": "true"}).json()
    assert set(body["components"].values()) == {"healthy"}


def test_the_key_is_private_and_works(mesh: RunningMesh) -> None:
    file = mesh.state_dir / "license.key"
    assert file.stat().st_mode & 0o077 == 0
    body = {"text": "Hello.", "voice": "en_US-joe-medium", "output_format": "wav"}
    without = httpx.post(f"{mesh.url}/v1/speak", json=body)
    assert without.status_code == 401
    headers = {"Authorization": f"Token {mesh.key}"}
    spoken = httpx.post(f"{mesh.url}/v1/speak", json=body, headers=headers, timeout=30)
    assert spoken.status_code == 200 and spoken.content.startswith(b"RIFF")


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_health_tells_the_truth(mesh: RunningMesh, service: str) -> None:
    since, before = len(mesh.events), mesh.pids
    mesh.kill(service)
    if service in MISSED:
        until(lambda: health(mesh)[0] == 503, 10, "health says that it is gone")
        assert MISSED[service] in health(mesh)[1]
    mesh.wait_for(lambda e: e["event"] == "crashed" and e["service"] == service, within_s=10, since=since)
    mesh.wait_for(lambda e: e["event"] == "ready" and e["service"] == service, within_s=90, since=since)
    until(lambda: health(mesh)[0] == 200, 30, "health is good again")
    until(
        lambda: mesh.pids.get(service, before[service]) != before[service],
        5,
        "the note names the new process",
    )
    assert {n: p for n, p in mesh.pids.items() if n != service} == {
        n: p for n, p in before.items() if n != service
    }, "no other process was touched"


def test_a_second_mesh_of_the_same_state_is_refused(mesh: RunningMesh) -> None:
    command = [sys.executable, "-m", "cli", "up", "--free-ports", "--state-dir", str(mesh.state_dir)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "is up already" in done.stderr and mesh.url in done.stderr and "voxmesh down" in done.stderr


def test_a_taken_port_is_named_with_its_owner(mesh: RunningMesh, tmp_path: Path) -> None:
    port = mesh.url.rpartition(":")[2]
    command = [
        sys.executable,
        "-m",
        "cli",
        "up",
        "--free-ports",
        "--port",
        port,
        "--state-dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr and f"pid {mesh.pids['edge']}" in done.stderr


def test_a_public_mesh_wants_a_real_key(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cli",
        "up",
        "--free-ports",
        "--host",
        "0.0.0.0",
        "--state-dir",
        str(tmp_path),
    ]
    env = {**os.environ, "LICENSE_KEY": ""}
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "LICENSE_KEY" in done.stderr


def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    with RunningMesh(tmp_path, "--model", "whisper-tiny.en").wait_up() as mesh:
        pids = mesh.pids
        begin = time.monotonic()
        assert mesh.stop() == 0
        took = time.monotonic() - begin
    order = [event["service"] for event in mesh.events if event["event"] == "stopped"]
    assert order[0] == "edge" and set(order) == set(SERVICES)
    assert max(order.index(name) for name in ("asr", "tts", "session")) < order.index("license")
    assert alive(pids) == []
    assert not (tmp_path / "mesh.json").exists()
    assert took < 6, f"an idle mesh took {took:.1f} s to stop"
    assert mesh.events[-2]["event"] == "down" and mesh.events[-2]["took_s"] <= took


def test_a_killed_command_line_leaves_no_orphan(tmp_path: Path) -> None:
    with RunningMesh(tmp_path, "--model", "whisper-tiny.en").wait_up() as mesh:
        pids = mesh.pids
        mesh.process.send_signal(signal.SIGKILL)
        mesh.process.wait(10)
        until(lambda: alive(pids) == [], 10, f"all of {sorted(pids)} are gone")
