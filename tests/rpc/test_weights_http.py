"""Downloads from a real HTTP server, which breaks off, lies and comes back."""

import hashlib
import io
import multiprocessing
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.weights import BadSpec, Corrupt, Unreachable, fetch
from common.weights.download import FRUITLESS_ATTEMPTS, Remote, download
from common.weights.progress import silent
from tests.fakes.file_server import FileServer

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        server.files["/model.bin"] = CONTENT
        yield server


@pytest.fixture
def remote(server: FileServer) -> Remote:
    return Remote(f"{server.url}/model.bin", "model.bin", DIGEST, plain=True)


def load(remote: Remote, path: Path) -> bool:
    return download(remote, path, silent, sleep=lambda seconds: None)


def test_a_broken_download_goes_on_where_it_was(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.break_after = [300_000, 200_000]
    assert load(remote, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=300000-", "bytes=500000-"]


def test_it_goes_on_in_the_next_process_too(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.break_after = [300_000, *[0] * FRUITLESS_ATTEMPTS]
    with pytest.raises(Unreachable, match="of 1048576 bytes|connection"):
        load(remote, tmp_path / "m")
    server.break_after.clear()
    server.ranges.clear()
    assert load(remote, tmp_path / "m")
    assert server.ranges == ["bytes=300000-"]


def test_a_link_that_keeps_breaking_is_followed_while_it_brings_something(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    server.break_after = [50_000] * 15
    assert load(remote, tmp_path / "m")
    assert len(server.ranges) == 16


def test_a_file_that_changed_meanwhile_is_loaded_afresh(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    (tmp_path / "m.partial").write_bytes(b"old" * 1000)
    (tmp_path / "m.partial.tag").write_text('"\\"old\\""')
    assert load(remote, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_without_an_etag_the_download_starts_again(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    server.etag = False
    server.break_after = [300_000]
    assert load(remote, tmp_path / "m")
    assert server.ranges == ["", ""]


def test_a_damaged_part_is_replaced(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    """The server knows the part, but its bytes on disk are wrong: the hash tells, and all is loaded once more."""
    server.break_after = [300_000, *[0] * FRUITLESS_ATTEMPTS]
    with pytest.raises(Unreachable):
        load(remote, tmp_path / "m")
    server.break_after.clear()
    (tmp_path / "m.partial").write_bytes(b"X" * 300_000)
    assert load(remote, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_passing_statuses_are_tried_again_and_others_are_not(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    server.statuses = [503, 429, 500]
    assert load(remote, tmp_path / "m")
    server.statuses = [410]
    with pytest.raises(Unreachable, match="410"):
        load(remote, tmp_path / "other")
    server.statuses = [403]
    with pytest.raises(Unreachable, match="credentials"):
        load(remote, tmp_path / "other")


def test_a_wrong_hash_is_corrupt(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(Corrupt):
        fetch(f"{server.url}/model.bin#sha256={'0' * 64}", tmp_path)
    assert server.requests["/model.bin"] == 1


def test_an_https_link_may_not_lead_to_plain_http(server: FileServer, tmp_path: Path) -> None:
    remote = Remote(f"{server.url}/model.bin", "model.bin")
    with pytest.raises(Unreachable, match="plain http"):
        load(remote, tmp_path / "m")


def test_an_archive_is_unpacked(server: FileServer, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("base/model.bin")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    server.files["/base.tar.gz"] = packed.getvalue()
    assert (fetch(f"{server.url}/base.tar.gz", tmp_path) / "model.bin").read_bytes() == b"abc"


def test_a_voice_brings_its_configuration(server: FileServer, tmp_path: Path) -> None:
    server.files |= {"/v/joe.onnx": b"onnx", "/v/joe.onnx.json": b"{}"}
    model = fetch(f"{server.url}/v/joe.onnx", tmp_path)
    assert sorted(path.name for path in model.iterdir()) == ["joe.onnx", "joe.onnx.json", "manifest.json"]


def fetch_in_process(url: str, cache: Path) -> None:
    fetch(url, cache)


def test_two_processes_download_once(server: FileServer, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=fetch_in_process, args=(f"{server.url}/model.bin", tmp_path)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.requests["/model.bin"] == 1


@pytest.fixture
def hub(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    files = {
        "model.safetensors": CONTENT,
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "README.md": b"hello",
    }
    server.publish("org/whisper", "abc123", files, sha256={"model.safetensors": DIGEST})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


def test_a_hub_repository_is_pinned_to_its_commit_and_verified(hub: FileServer, tmp_path: Path) -> None:
    model = fetch("hf://org/whisper", tmp_path)
    assert sorted(path.name for path in model.iterdir()) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    hub.files["/org/whisper/resolve/abc123/model.safetensors"] = b"other"
    with pytest.raises(Corrupt):
        fetch("hf://org/whisper", tmp_path / "elsewhere")


def test_a_cached_hub_model_needs_no_hub(hub: FileServer, tmp_path: Path) -> None:
    fetch("hf://org/whisper", tmp_path)
    hub.files.clear()
    before = hub.requests.total()
    assert fetch("hf://org/whisper", tmp_path).is_dir()
    assert hub.requests.total() == before


def test_the_token_goes_to_the_hub_and_not_to_another_host(
    hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with FileServer() as storage:
        storage.files["/blob"] = CONTENT
        hub.redirects["/org/whisper/resolve/abc123/model.safetensors"] = f"{storage.url}/blob"
        fetch("hf://org/whisper", tmp_path)
        assert set(hub.tokens) == {"Bearer hf_secret"}
        assert storage.tokens == [""]


def test_what_the_hub_lacks_is_a_bad_spec(hub: FileServer, tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="has no"):
        fetch("hf://org/absent", tmp_path)
    with pytest.raises(BadSpec, match="org/repo"):
        fetch("hf://absent", tmp_path)


def test_a_hub_that_refuses_or_answers_nonsense_is_unreachable(hub: FileServer, tmp_path: Path) -> None:
    hub.statuses = [401]
    with pytest.raises(Unreachable, match="HF_TOKEN"):
        fetch("hf://org/whisper", tmp_path)
    hub.files["/api/models/org/whisper/revision/main"] = b"<html>"
    with pytest.raises(Unreachable, match="JSON"):
        fetch("hf://org/whisper", tmp_path)
