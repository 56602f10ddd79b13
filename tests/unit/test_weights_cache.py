"""The cache: complete or absent, and honest about which."""

import errno
import hashlib
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.weights import BadSpec, CacheUnusable, Corrupt, describe, fetch
from common.weights.cache import MANIFEST, Cache


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A tar.gz with a model of two files in one top directory, and code that must stay behind."""
    source = tmp_path / "source"
    (source / "model").mkdir(parents=True)
    (source / "model" / "model.bin").write_bytes(b"weights" * 1000)
    (source / "model" / "config.json").write_text("{}")
    (source / "model" / "run.py").write_text("raise SystemExit")
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(source / "model", "model")
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_directory_is_used_where_it_is(tmp_path: Path) -> None:
    assert fetch(f"file://{tmp_path}", tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache").exists()


def test_an_archive_is_unpacked_without_its_top_directory_and_code(archive: Path, tmp_path: Path) -> None:
    model = fetch(f"file://{archive}", tmp_path / "cache")
    assert names(model) == ["config.json", MANIFEST, "model.bin"]


def test_a_second_fetch_changes_nothing(archive: Path, tmp_path: Path) -> None:
    model = fetch(str(archive), tmp_path / "cache")
    before = (model / "model.bin").stat().st_ino
    assert fetch(str(archive), tmp_path / "cache") == model
    assert (model / "model.bin").stat().st_ino == before


def test_a_single_file_is_linked_with_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "voice.onnx").write_bytes(b"onnx")
    (tmp_path / "voice.onnx.json").write_text("{}")
    model = fetch(f"file://{tmp_path}/voice.onnx", tmp_path / "cache")
    assert names(model) == [MANIFEST, "voice.onnx", "voice.onnx.json"]
    assert (model / "voice.onnx").is_symlink()


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest"])
def test_a_damaged_model_is_fetched_again(archive: Path, tmp_path: Path, damage: str) -> None:
    model = fetch(str(archive), tmp_path / "cache")
    file, good = model / "model.bin", (model / "model.bin").read_bytes()
    match damage:
        case "truncate":
            file.write_bytes(good[:-1])
        case "flip":
            file.write_bytes(b"X" + good[1:])
        case "remove":
            file.unlink()
        case "manifest":
            (model / MANIFEST).write_text("{")
    assert describe(str(archive), tmp_path / "cache").path is None
    fetch(str(archive), tmp_path / "cache")
    assert file.read_bytes() == good


def test_a_touched_file_is_hashed_and_kept(archive: Path, tmp_path: Path) -> None:
    model = fetch(str(archive), tmp_path / "cache")
    inode = (model / "model.bin").stat().st_ino
    (model / "model.bin").touch()
    assert (fetch(str(archive), tmp_path / "cache") / "model.bin").stat().st_ino == inode


def test_thorough_finds_what_the_time_stamp_hides(archive: Path, tmp_path: Path) -> None:
    model = fetch(str(archive), tmp_path / "cache")
    manifest = json.loads((model / MANIFEST).read_text())
    (model / "config.json").write_text("[]")
    stored = next(stored for stored in manifest["files"] if stored["name"] == "config.json")
    stored["mtime_ns"] = (model / "config.json").stat().st_mtime_ns
    (model / MANIFEST).write_text(json.dumps(manifest))
    assert describe(str(archive), tmp_path / "cache").path == model
    assert describe(str(archive), tmp_path / "cache", thorough=True).path is None


def test_a_changed_archive_is_unpacked_again(archive: Path, tmp_path: Path) -> None:
    fetch(str(archive), tmp_path / "cache")
    (tmp_path / "other.bin").write_bytes(b"new")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "other.bin", "other.bin")
    assert names(fetch(str(archive), tmp_path / "cache")) == [MANIFEST, "other.bin"]


def test_a_read_only_cache_serves_what_it_has(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock is taken for a model that is there."""
    model = fetch(str(archive), tmp_path / "cache")
    monkeypatch.setattr(Cache, "lock", None)
    assert fetch(str(archive), tmp_path / "cache") == model


def test_the_hash_of_an_archive_is_checked(archive: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert fetch(f"file://{archive}#sha256={digest}", tmp_path / "cache").is_dir()
    with pytest.raises(Corrupt, match="not 0000"):
        fetch(f"file://{archive}#sha256={'0' * 64}", tmp_path / "cache")


def test_a_failed_fill_leaves_no_model(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError), cache.fill("m", "", "m") as work:
        (work.staging / "model.bin").write_bytes(b"half")
        (work.partial / "download").write_bytes(b"kept for the next attempt")
        raise RuntimeError
    assert cache.find("m", "") is None and not cache.path("m").exists()
    assert (tmp_path / ".partial" / "m" / "download").exists()


def test_a_wrong_file_is_refused_and_its_download_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(Corrupt), cache.fill("m", "", "m") as work:
        (work.staging / "model.bin").write_bytes(b"bad")
        work.expected["model.bin"] = "0" * 64
    assert not (tmp_path / ".partial" / "m").exists() and not cache.path("m").exists()


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "No space"), (errno.EROFS, "Cannot write")])
def test_disk_errors_say_what_to_do(tmp_path: Path, code: int, says: str) -> None:
    with pytest.raises(CacheUnusable, match=f"{says}.*MODEL_CACHE_DIR"), Cache(tmp_path).fill("m", "", "m"):
        raise OSError(code, "x")


def test_too_little_space_is_noticed_before_unpacking(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10, used=10, free=0))
    with pytest.raises(CacheUnusable, match="are needed"):
        fetch(str(archive), tmp_path / "cache")


@pytest.mark.parametrize("member", ["../evil", "/evil", "a/../../evil"])
def test_an_archive_cannot_write_outside_itself(tmp_path: Path, member: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(Corrupt, match="unsafe"):
        fetch(str(path), tmp_path / "cache")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"PK\x03\x04broken"])
def test_what_only_claims_to_be_an_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        fetch(str(path), tmp_path / "cache")


def test_a_missing_path_and_a_hash_of_a_directory_are_bad_specs(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="no such file"):
        fetch(f"file://{tmp_path}/absent", tmp_path)
    with pytest.raises(BadSpec, match="directory"):
        fetch(f"file://{tmp_path}#sha256={'0' * 64}", tmp_path)
