"""The committed messages are those of proto/, and they are the same on the wire as any other client's."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from cli.paths import BIN
from cli.proto import generate
from common.pb.voxmesh.asr import v1 as asr
from common.pb.voxmesh.audio import v1 as audio
from common.pb.voxmesh.license import v1 as licence
from common.pb.voxmesh.tts import v1 as tts
from tests.conftest import REPOSITORY

PROTO = REPOSITORY / "proto"


def test_the_committed_code_is_what_the_compiler_makes(tmp_path: Path) -> None:
    generate(PROTO, tmp_path)
    made = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*.py")}
    committed = REPOSITORY / "common" / "pb"
    there = {p.relative_to(committed).as_posix(): p.read_text() for p in committed.rglob("*.py")}
    assert sorted(made) == sorted(there)
    changed = [name for name, text in made.items() if text != there[name]]
    assert not changed, f"run ./voxmesh proto and commit: {changed}"


def test_the_contracts_keep_the_house_rules() -> None:
    done = subprocess.run([BIN / "buf", "lint", PROTO], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def protoc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    """The same contracts as Google's own messages, as a client in any language has them."""
    folder = tmp_path_factory.mktemp("protoc")
    files = [str(path) for path in (PROTO / "voxmesh").rglob("*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={folder}", *files]
    subprocess.run(command, check=True, env=dict(os.environ))
    sys.path.insert(0, str(folder))
    names = ("asr", "audio", "license", "session", "tts")
    yield {name: importlib.import_module(f"voxmesh.{name}.v1.{name}_pb2") for name in names}
    sys.path.remove(str(folder))


def test_ours_are_read_by_theirs(protoc: dict[str, ModuleType]) -> None:
    config = asr.RecognizeConfig(
        format=audio.AudioFormat(encoding=audio.Encoding.PCM_S16LE, sample_rate_hz=8000),
        mode=asr.Mode.BATCH,
        language="de",
        endpointing_ms=0,  # set, and zero: not the same as unset
        keyterms=[asr.Keyterm(phrase="Voxmesh", weight=2.5)],
        offset_ms=1 << 40,
    )
    read = protoc["asr"].RecognizeRequest.FromString(bytes(asr.RecognizeRequest(config=config)))
    assert read.WhichOneof("message") == "config"
    assert read.config.format.sample_rate_hz == 8000 and read.config.mode == 2
    assert read.config.HasField("endpointing_ms") and not read.config.HasField("utterance_end_ms")
    assert read.config.keyterms[0].phrase == "Voxmesh" and read.config.offset_ms == 1 << 40


def test_theirs_are_read_by_ours(protoc: dict[str, ModuleType]) -> None:
    theirs = protoc["asr"].RecognizeResponse()
    theirs.result.is_final = True
    theirs.result.text = "Grüße, 世界"
    word = theirs.result.words.add(text="Grüße,", start_ms=10, end_ms=400, confidence=0.5)
    word.speaker = 0
    read = asr.RecognizeResponse.FromString(theirs.SerializeToString())
    assert read.result and read.result.text == "Grüße, 世界"
    assert read.result.words[0].speaker == 0 and read.result.words[0].end_ms == 400
    assert read.started is None and read.summary is None


def test_audio_survives_both_ways(protoc: dict[str, ModuleType]) -> None:
    pcm = bytes(range(256)) * 13
    theirs = protoc["asr"].RecognizeRequest(audio=pcm)
    assert asr.RecognizeRequest.FromString(theirs.SerializeToString()).audio == pcm
    assert protoc["tts"].SynthesizeResponse.FromString(bytes(tts.SynthesizeResponse(audio=pcm))).audio == pcm


def test_an_empty_arm_is_still_chosen(protoc: dict[str, ModuleType]) -> None:
    ours = bytes(asr.RecognizeRequest(flush=asr.Flush()))
    assert protoc["asr"].RecognizeRequest.FromString(ours).WhichOneof("message") == "flush"
    theirs = protoc["tts"].SynthesizeRequest(text="")
    assert tts.SynthesizeRequest.FromString(theirs.SerializeToString()).text == ""


def test_messages_cross_packages(protoc: dict[str, ModuleType]) -> None:
    theirs = protoc["session"].CloseRequest(session_id="s")
    theirs.usage.kind = 2
    theirs.usage.features.extend(["word_times", "diarize"])
    ours = licence.UsageEvent.FromString(theirs.usage.SerializeToString())
    assert ours.kind is licence.Kind.LISTEN_STREAM and ours.features == ["word_times", "diarize"]
    assert protoc["license"].UsageEvent.FromString(bytes(ours)) == theirs.usage
