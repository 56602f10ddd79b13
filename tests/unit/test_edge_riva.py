"""Riva's messages: the same on the wire as its own client's, and mapped without loss."""

from typing import Any

import pytest
from betterproto2 import Message

from common.errors import InvalidArgument
from common.pb.nvidia import riva as common_pb
from common.pb.nvidia.riva import asr, tts
from common.pb.nvidia.riva.asr import EndpointingConfig, RecognitionConfig, SpeechContext
from common.pb.nvidia.riva.tts import SynthesizeSpeechRequest, ZeroShotData
from common.pb.voxmesh.asr.v1 import Model, Result, Word
from edge.dialects import riva, riva_speak
from edge.listening.requests import ListenOptions

MESSAGES = [
    (module, name)
    for module in (asr, tts, common_pb)
    for name, kind in vars(module).items()
    if isinstance(kind, type)
    and issubclass(kind, Message)
    and kind is not Message
    and not name.endswith("Entry")
]


def theirs(full_name: str) -> Any:
    for name in ("riva_asr_pb2", "riva_tts_pb2", "riva_common_pb2"):
        file = pytest.importorskip(
            f"riva.client.proto.{name}", reason="the client comes with the extra `clients`"
        )
        if full_name.startswith(file.DESCRIPTOR.package + "."):
            path = full_name.removeprefix(file.DESCRIPTOR.package + ".").split(".")
            found = file.DESCRIPTOR.message_types_by_name.get(path[0])
            for part in path[1:]:
                found = found.nested_types_by_name[part]
            if found is not None:
                return found
    raise AssertionError(f"their client has no {full_name}")


@pytest.mark.parametrize(("module", "name"), MESSAGES, ids=[name for _, name in MESSAGES])
def test_fields_are_those_of_their_client(module: Any, name: str) -> None:
    ours = getattr(module, name).DESCRIPTOR
    known = {field.number: field for field in theirs(ours.full_name).fields}
    assert ours.fields or not known
    for field in ours.fields:
        other = known[field.number]
        assert (field.name, field.type, field.is_repeated) == (other.name, other.type, other.is_repeated)


def test_encodings_are_those_of_their_client() -> None:
    pytest.importorskip("riva.client", reason="the client comes with the extra `clients`")
    from riva.client.proto.riva_audio_pb2 import AudioEncoding

    assert {one.name: int(one) for one in common_pb.AudioEncoding} == dict(AudioEncoding.items())


def test_an_interim_is_as_stable_as_its_committed_part() -> None:
    def stability(committed: int) -> float:
        told = riva.news(Result(text="hello wide world", committed_chars=committed), ListenOptions(), None)
        assert told is not None
        return told.results[0].stability

    assert [stability(n) for n in (0, 8, 16)] == [0.1, 0.5, 0.9]


def test_a_final_without_words_is_not_told() -> None:
    assert riva.news(Result(is_final=True, from_flush=True, text=" "), ListenOptions(), None) is None


def test_channels_and_speakers_count_from_one() -> None:
    result = Result(text="a b", channel=1, words=[Word(text="a", speaker=0), Word(text="b")])
    told = riva.news(result, ListenOptions(word_times=True), None)
    assert told is not None and told.results[0].channel_tag == 2
    assert [word.speaker_tag for word in told.results[0].alternatives[0].words] == [1, 0]


@pytest.mark.parametrize(("history", "expected"), [(None, None), (0, None), (350, 350)])
def test_the_end_of_an_utterance(history: int | None, expected: int | None) -> None:
    config = RecognitionConfig(endpointing_config=EndpointingConfig(stop_history=history))
    assert riva.listen_options(config).endpointing_ms == expected


@pytest.mark.parametrize(
    "config",
    [
        RecognitionConfig(language_code="not a language"),
        RecognitionConfig(endpointing_config=EndpointingConfig(stop_history=-1)),
        RecognitionConfig(speech_contexts=[SpeechContext(phrases=["word"] * 501)]),
        RecognitionConfig(encoding=common_pb.AudioEncoding(7)),
    ],
)
def test_bad_configs_are_refused(config: RecognitionConfig) -> None:
    with pytest.raises(InvalidArgument):
        riva.listen_options(config)


def test_many_languages_are_called_multi() -> None:
    model = Model(name="m", languages=[f"l{n}" for n in range(99)])
    shown = riva.models([model], "m").model_config
    assert [one.parameters["language_code"] for one in shown] == ["multi", "multi"]
    assert not riva.models([model], "other").model_config


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("English-US.Female-1", ""),
        ("Magpie-Multilingual.EN-US.Leo", ""),
        ("Magpie-Multilingual.EN-US.Female.Calm", ""),
        ("en_US-joe-medium", "en_US-joe-medium"),
        ("de_DE-thorsten-high", "de_DE-thorsten-high"),
        ("nobody", "nobody"),
    ],
)
def test_stock_voices_mean_choose(asked: str, expected: str) -> None:
    request = SynthesizeSpeechRequest(voice_name=asked)
    assert riva_speak.speak_options(request, ["en_US-joe-medium"]).voice == expected


def test_ssml_is_recognised_by_its_element() -> None:
    def is_ssml(text: str) -> bool:
        return riva_speak.speak_options(SynthesizeSpeechRequest(text=text), []).ssml

    assert is_ssml('  <speak version="1.0">Hi</speak>') and is_ssml("<speak>Hi</speak>")
    assert not is_ssml("I <speak> plainly") and not is_ssml("<speaker>")


def test_a_voice_to_imitate_is_refused() -> None:
    request = SynthesizeSpeechRequest(text="Hi", zero_shot_data=ZeroShotData(audio_prompt=b"x"))
    with pytest.raises(InvalidArgument, match="imitates"):
        riva_speak.speak_options(request, [])
