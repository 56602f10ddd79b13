"""Kokoro's real weights: ours beside ONNX Runtime, and both languages through the reader."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pytest
import torch

from common.weights import fetch
from tts.model import Clause
from tts.models.kokoro.load import load_voices
from tts.models.kokoro.voice import EDGES, STYLE, KokoroVoice
from tts.text.japanese import analyser
from tts.text.phonemes import PhonemeEncoder
from tts.text.reader import Reader

# "We will meet you at the station."
PHONEMES = "wi wɪl mˈit ju æt ðə stˈAʃən."
# The exported graph skips the division by the overlapped windows, which is 1.5 nearly everywhere.
EXPORT_GAIN = 1.5
DURATIONS, PITCH, ENERGY = (
    "/encoder/Clip_output_0",
    "/decoder/decoder/Unsqueeze_output_0",
    "/decoder/decoder/Unsqueeze_1_output_0",
)


@pytest.fixture(scope="module")
def directory() -> Path:
    return fetch("kokoro-ja", platformdirs.user_cache_path("voxmesh") / "models")


@pytest.fixture(scope="module")
def voices(directory: Path) -> list[KokoroVoice]:
    return load_voices(directory, dtype=torch.float32)


def ids_of(voice: KokoroVoice, phonemes: str) -> tuple[int, ...]:
    symbols = voice.info.phoneme_id_map
    return (0, *[symbols[sign][0] for sign in phonemes], 0)


def sound_of(voice: KokoroVoice, clause: Clause) -> npt.NDArray[np.float32]:
    (speech,) = voice.begin([clause])
    parts = []
    while speech.done < speech.frames:
        parts += voice.decode([speech], 1_000)
    return np.concatenate(parts)


@torch.inference_mode()
def test_the_same_as_onnx_runtime(directory: Path, voices: list[KokoroVoice]) -> None:
    """The reference rounds every layer's input to 8 bits and ours does not, so the bounds are not tight."""
    onnx = pytest.importorskip("onnx", reason="the comparison edits the exported graph with the onnx package")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison runs the exported graph")
    voice = voices[0]
    net, ids = voice.net, ids_of(voice, PHONEMES)
    style = voice.styles[len(ids) - EDGES - 1]
    model = onnx.load(str(directory / "model.onnx"))
    for name in (DURATIONS, PITCH, ENERGY):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    inputs: dict[str, Any] = {
        "tokens": np.array([ids]),
        "style": style[None].numpy(),
        "speed": np.ones(1, np.float32),
    }
    answers = session.run(None, inputs)
    audio, durations, pitch, energy = (np.array(answer, np.float32).ravel() for answer in answers)

    frames, features = net.durations(ids, style, 1.0)
    assert np.abs(frames.numpy() - durations).max() <= 2
    frames = torch.from_numpy(durations).long()
    our_pitch, our_energy = net.prosody.contours(features.repeat_interleave(frames, 0), style[STYLE:])
    assert distance(our_pitch.numpy(), pitch) < 0.03
    assert distance(our_energy.numpy(), energy) < 0.03

    # From here on both speak the same prosody: a pitch a thousandth off is another waveform a second later.
    text = net.text(torch.tensor(ids)).repeat_interleave(frames, 0)
    steps = net.decoder(text, torch.from_numpy(pitch), torch.from_numpy(energy), style[:STYLE], None)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        ours = end.value.numpy()
    theirs = audio / EXPORT_GAIN
    assert len(ours) == len(theirs)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert distance(spectrum(ours), spectrum(theirs)) < 0.1


def test_bf16_is_close(directory: Path, voices: list[KokoroVoice]) -> None:
    fast = load_voices(directory, dtype=torch.bfloat16)[0]
    clause = Clause(ids_of(fast, PHONEMES), noise_scale=0.0)
    exact, rounded = sound_of(voices[0], clause), sound_of(fast, clause)
    assert abs(len(exact) - len(rounded)) <= 4 * fast.hop_samples
    shared = min(len(exact), len(rounded))
    assert abs(20 * np.log10(exact[:shared].std() / rounded[:shared].std())) < 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nice to meet you.", ["Nice", "to", "meet", "you."]),
        ("こんにちは、コーヒーをください。", ["こんにちは、", "コーヒー", "を", "ください。"]),
    ],
)
def test_both_languages_are_spoken(voices: list[KokoroVoice], text: str, words: list[str]) -> None:
    voice = voices[1]
    encoder = PhonemeEncoder(voice.info)
    (phonemes,) = encoder.encode(Reader(voice.info.language).read(text))
    if analyser() is not None:  # without a dictionary the kana between two marks are one word
        assert [span.text for span in phonemes.spans] == words
    assert not encoder.unknown
    (speech,) = voice.begin([Clause(phonemes.ids, phonemes.spans, seed=1)])
    assert 0.5 < speech.frames / 40 < 5
    assert speech.words[-1].end_s <= speech.frames / 40


def distance(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def spectrum(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    window = torch.hann_window(1024)
    magnitudes = torch.stft(torch.from_numpy(sound), 1024, 256, window=window, return_complex=True).abs()
    return np.asarray(magnitudes.numpy())
