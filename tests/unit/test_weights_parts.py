"""Files that travel in parts, and which files of a repository make a model."""

from pathlib import Path

import pytest

from common.weights import BadSpec, Corrupt
from common.weights.archive import join_parts, relative_names
from common.weights.hub import HubFile, choose


def test_parts_are_joined_by_number_not_by_name(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / f"model.bin.part{number}").write_bytes(bytes([number]))
    join_parts(tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == bytes(range(1, 12))
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize("numbers", [(1, 3), (2, 3)])
def test_a_missing_part_is_noticed(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        (tmp_path / f"model.bin.part{number}").write_bytes(b"x")
    with pytest.raises(Corrupt, match="missing"):
        join_parts(tmp_path)


def test_shared_directories_are_dropped() -> None:
    assert relative_names(["a/b/x", "a/b/c/y"]) == {"a/b/x": "x", "a/b/c/y": "c/y"}
    assert relative_names([]) == {}


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 1, None) for path in paths]


def chosen(listing: list[HubFile], path: str = "") -> list[str]:
    return [file.path for file in choose(listing, path)]


def test_safetensors_are_preferred_and_only_the_files_a_model_needs_are_taken() -> None:
    listing = files(
        "README.md", "config.json", "flax_model.msgpack", "model.safetensors", "pytorch_model.bin"
    )
    assert chosen(listing) == ["model.safetensors", "config.json"]


def test_every_shard_is_taken() -> None:
    listing = files(
        "model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"
    )
    assert len(chosen(listing)) == 3


def test_a_voice_is_found_by_its_directory_or_file() -> None:
    listing = files("en/joe/joe.onnx", "en/joe/joe.onnx.json", "de/eva/eva.onnx", "de/eva/eva.onnx.json")
    voice = ["en/joe/joe.onnx", "en/joe/joe.onnx.json"]
    assert chosen(listing, "en/joe") == chosen(listing, "en/joe/joe.onnx") == voice
    with pytest.raises(BadSpec, match=r"add a path such as /de/eva/eva\.onnx"):
        choose(listing, "")


def test_a_choice_of_voices_is_left_to_the_caller() -> None:
    with pytest.raises(BadSpec, match="2 voices"):
        choose(files("a.onnx", "a.onnx.json", "b.onnx", "b.onnx.json"), "")
