"""The real voice, ours beside ONNX Runtime on the same noise."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import pytest
import torch

from common.weights import fetch
from tts.model import Clause
from tts.models.load import load_voice
from tts.models.vits import Noise, VitsVoice

onnx = pytest.importorskip("onnx", reason="the comparison edits the exported graph with the onnx package")
onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison runs the exported graph")

# "We will meet you at the station tomorrow morning."
PHONEMES = "wiː wɪl mˈiːt juː æt ðə stˈeɪʃən təmˈɑːɹoʊ mˈɔːɹnɪŋ."
LATENT = 192
MEL_BANDS = 80


@pytest.fixture(scope="module")
def voice_file() -> Path:
    (found,) = fetch("en_US-joe-medium", platformdirs.user_cache_path("voxmesh") / "models").rglob("*.onnx")
    return found


@pytest.fixture(scope="module")
def plain(voice_file: Path) -> VitsVoice:
    """In fp32."""
    return load_voice(voice_file, dtype=torch.float32)


def clause_of(voice: VitsVoice, speed: float = 1.0) -> Clause:
    symbols = voice.info.phoneme_id_map
    ids = [*symbols["^"], *symbols["_"]]
    for phoneme in PHONEMES:
        ids += [*symbols[phoneme], *symbols["_"]]
    return Clause((*ids, *symbols["$"]), speed=speed, seed=0)


def reference_session(voice_file: Path) -> Any:
    """The exported graph with its two sources of noise turned into inputs."""
    model = onnx.load(str(voice_file))
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "RandomNormalLike"]:
        name, channels = ("rhythm", 2) if node.name.startswith("/dp") else ("sound", LATENT)
        graph.input.append(onnx.helper.make_tensor_value_info(name, 1, [1, channels, None]))
        graph.node.remove(node)
        for user in graph.node:
            for i, used in enumerate(user.input):
                if used == node.output[0]:
                    user.input[i] = name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def all_of(voice: VitsVoice, clause: Clause, noise: Noise) -> npt.NDArray[np.float32]:
    (speech,) = voice.begin([clause], [noise])
    parts = []
    for size in (12, 24, 48, *[96] * 20):
        if speech.done < speech.frames:
            parts += voice.decode([speech], size)
    return np.concatenate(parts)


def noise_for(clause: Clause) -> Noise:
    generator = torch.Generator().manual_seed(5)
    rhythm = torch.randn(len(clause.phoneme_ids), 2, generator=generator)
    return Noise(rhythm, torch.randn(2_000, LATENT, generator=generator))


@pytest.mark.parametrize("speed", [1.0, 0.8])
def test_fp32_is_what_onnx_runtime_computes(voice_file: Path, plain: VitsVoice, speed: float) -> None:
    clause = clause_of(plain, speed)
    noise = noise_for(clause)
    ours = all_of(plain, clause, noise)
    frames = len(ours) // plain.hop_samples
    (reference,) = reference_session(voice_file).run(
        None,
        {
            "input": np.array([clause.phoneme_ids]),
            "input_lengths": np.array([len(clause.phoneme_ids)]),
            "scales": np.array([plain.noise_scale, plain.length_scale / speed, plain.noise_w], np.float32),
            "rhythm": noise.duration.numpy().T[None],
            "sound": noise.prior[:frames].numpy().T[None],
        },
    )
    assert np.abs(reference).max() > 0.2  # it speaks
    np.testing.assert_allclose(ours, reference.ravel(), atol=1e-3, rtol=0)


def mel_db(pcm: npt.NDArray[np.float32], rate_hz: int) -> torch.Tensor:
    """[bands, frames] in dB, with a floor 60 dB under full scale."""
    window = torch.hann_window(1024)
    spectrum = torch.stft(torch.from_numpy(pcm), 1024, 256, window=window, return_complex=True).abs()
    edges = 700 * (10 ** (torch.linspace(0, 2595 * np.log10(1 + rate_hz / 1400), MEL_BANDS + 2) / 2595) - 1)
    hz = torch.linspace(0, rate_hz / 2, spectrum.shape[0])
    low, middle, high = (edges[i : i + MEL_BANDS, None] for i in range(3))
    bank = torch.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)).clamp(min=0)
    return 20 * torch.log10((bank @ spectrum).clamp(min=1e-3))


def test_bf16_sounds_the_same(voice_file: Path, plain: VitsVoice) -> None:
    """Half precision in flow and decoder moves the mel spectrum by less than ears can tell (about 1 dB)."""
    half = load_voice(voice_file, dtype=torch.bfloat16)
    clause = clause_of(plain)
    sounds = []
    for voice in (plain, half):
        (speech,) = plain.begin([clause], [noise_for(clause)])  # one rhythm, so that frames match
        sounds.append(np.concatenate([p for _ in range(20) if speech.done < speech.frames
                                      for p in voice.decode([speech], 96)]))  # fmt: skip
    fp32, bf16 = (mel_db(pcm, plain.info.sample_rate_hz) for pcm in sounds)
    assert float((fp32 - bf16).square().mean(0).sqrt().mean()) < 1.5
    error = sounds[0] - sounds[1]
    assert float(np.square(error).mean()) < float(np.square(sounds[0]).mean()) / 30  # 15 dB


def test_the_voice_describes_itself(plain: VitsVoice) -> None:
    info = plain.info
    assert (info.name, info.language, info.espeak_voice) == ("en_US-joe-medium", "en-US", "en-us")
    assert (info.sample_rate_hz, info.speakers, info.quality, plain.hop_samples) == (22_050, 1, "medium", 256)


def test_a_file_that_is_no_voice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a model at all")
    (tmp_path / "x.onnx.json").write_text("{}")
    with pytest.raises(ValueError):
        load_voice(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_voice(tmp_path / "empty")
