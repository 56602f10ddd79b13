"""Clients made from `proto/` alone, on the public gRPC port."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.conftest import REPOSITORY
from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise

PROTOS = ["audio/v1/audio.proto", "asr/v1/asr.proto", "tts/v1/tts.proto"]


def run(
    command: list[str], folder: Path, mesh: RunningMesh, key: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "VOXMESH_GRPC": mesh.grpc, "VOXMESH_KEY": key, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def assert_worked(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert normalise(done.stdout) == normalise(CLIP_TEXT)
    with av.open(str(folder / "spoken.wav")) as spoken:
        assert sum(frame.samples for frame in spoken.decode(audio=0)) > 8000


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    names = [str(REPOSITORY / "proto" / "voxmesh" / name) for name in PROTOS]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{REPOSITORY / 'proto'}"]
    subprocess.run([*command, f"--python_out={folder}", f"--grpc_python_out={folder}", *names], check=True)
    return folder


def test_python(mesh: RunningMesh, stubs: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "examples" / "grpc_client.py"), str(clip())]
    assert_worked(run(command, tmp_path, mesh, mesh.key, PYTHONPATH=str(stubs)), tmp_path)


@pytest.mark.parametrize("key", ["", "wrong"])
def test_python_without_a_good_key(key: str, mesh: RunningMesh, stubs: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "examples" / "grpc_client.py"), str(clip())]
    done = run(command, tmp_path, mesh, key, PYTHONPATH=str(stubs))
    assert done.returncode == 1
    assert done.stderr.startswith("UNAUTHENTICATED")


def test_node(mesh: RunningMesh, tmp_path: Path) -> None:
    if not shutil.which("npm"):
        pytest.skip("Node.js and npm are not installed")
    # The example looks for proto/ beside its own folder.
    (tmp_path / "examples").mkdir()
    shutil.copy(REPOSITORY / "examples" / "grpc_client.mjs", tmp_path / "examples")
    (tmp_path / "proto").symlink_to(REPOSITORY / "proto")
    install = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--silent",
        "@grpc/grpc-js@1",
        "@grpc/proto-loader@0.8",
    ]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=180)
    command = ["node", "examples/grpc_client.mjs", str(clip())]
    assert_worked(run(command, tmp_path, mesh, mesh.key), tmp_path)
    assert run(command, tmp_path, mesh, "").stderr.startswith("UNAUTHENTICATED")
