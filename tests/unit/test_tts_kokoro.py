"""Kokoro on small random weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import InvalidArgument
from tests.fakes.tiny_kokoro import tiny_kokoro, tiny_states
from tts.engine import TtsEngine
from tts.model import Clause, WordSpan
from tts.models.kokoro.blocks import Moments, SnakeBlock, Steps, TiledConv, leaky
from tts.models.kokoro.decoder import SAMPLES_PER_FRAME
from tts.models.kokoro.load import is_kokoro, load_voices
from tts.models.kokoro.voice import KokoroSpeech, KokoroVoice
from tts.models.kokoro.weights import from_checkpoint, from_graph, from_states
from tts.models.onnx_reader import Graph, Node
from tts.models.weights import Weights

CLOSE = 1e-4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clause(length: int = 12, **fields: object) -> Clause:
    ids = (0, *[1 + i * 7 % 20 for i in range(length)], 0)
    return Clause(ids, **({"seed": 1} | fields))  # type: ignore[arg-type]


def whole(voice: KokoroVoice, speech: KokoroSpeech, size: int = 10_000) -> np.ndarray:
    parts = []
    while speech.done < speech.frames:
        parts += voice.decode([speech], size)
    return np.concatenate(parts)


def result_of(steps: Steps) -> Tensor:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def instance_norm(x: Tensor, style: Tensor, weights: Weights) -> Tensor:
    """`x` [channels, steps], as the paper has it."""
    gain, offset = F.linear(style, weights["fc.weight"], weights["fc.bias"]).unsqueeze(1).chunk(2)
    return (1 + gain) * F.instance_norm(x.unsqueeze(0))[0] + offset


def test_tiles_of_a_convolution_join_without_a_seam() -> None:
    tensors = {"weight": torch.randn(6, 5, 7), "bias": torch.randn(6)}
    conv = TiledConv(Weights(tensors), torch.float32, dilation=3)
    conv.tile = 32
    x, plus = torch.randn(150, 5), torch.randn(150, 6)
    factor, term = torch.randn(5), torch.randn(5)
    inner = F.leaky_relu(x * factor + term, 0.2)
    expected = F.conv1d(inner.T[None], tensors["weight"], tensors["bias"], dilation=3, padding=9)[0].T + plus
    y, moments = conv(x, leaky(factor, term), plus)
    torch.testing.assert_close(y, expected, atol=CLOSE, rtol=CLOSE)
    mean, inverse = moments.finish()
    torch.testing.assert_close(mean, expected.mean(0), atol=CLOSE, rtol=CLOSE)
    deviation = (expected.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(inverse, 1 / deviation, atol=CLOSE, rtol=CLOSE)


def test_snake_block_is_what_the_paper_says() -> None:
    weights = from_states(tiny_states(), torch.device("cpu")).sub("decoder.generator.resblocks.1")
    x, style = torch.randn(90, 8), torch.randn(128)
    steps = SnakeBlock(weights, torch.float32)(x, Moments.of(x), style)
    with torch.inference_mode():
        expected = x.T
        for i, dilation in enumerate((1, 3, 5)):
            y = expected
            for half, spread in (("1", dilation), ("2", 1)):
                y = instance_norm(y, style, weights.sub(f"adain{half}.{i}"))
                alpha = weights[f"alpha{half}.{i}"][0]
                y = y + torch.sin(alpha * y) ** 2 / alpha
                conv = weights.sub(f"convs{half}.{i}")
                y = F.conv1d(y[None], conv["weight"], conv["bias"], dilation=spread, padding=3 * spread)[0]
            expected = expected + y
        torch.testing.assert_close(result_of(steps), expected.T, atol=CLOSE, rtol=CLOSE)


def test_a_seed_is_a_sound_and_chunks_join() -> None:
    voice = tiny_kokoro()
    first, second = voice.begin([clause(), clause()])
    sound = whole(voice, first)
    assert len(sound) == first.frames * SAMPLES_PER_FRAME
    assert np.array_equal(sound, whole(voice, second, 3))
    (other,) = voice.begin([clause(seed=2)])
    assert not np.array_equal(sound, whole(voice, other))
    assert np.isfinite(sound).all() and np.abs(sound).max() <= 1


def test_both_kinds_of_weight_norm_are_read() -> None:
    old, new = (tiny_kokoro(states=tiny_states(parametrised=kind)) for kind in (False, True))
    assert np.array_equal(whole(old, old.begin([clause()])[0]), whole(new, new.begin([clause()])[0]))


def test_words_last_as_long_as_their_phonemes() -> None:
    voice = tiny_kokoro()
    spans = (WordSpan("one", 1, 4), WordSpan("two", 5, 12))
    (speech,) = voice.begin([clause(word_spans=spans)])
    one, two = speech.words
    assert 0 < one.start_s < one.end_s == two.start_s < two.end_s < speech.frames / 40
    (fast,) = voice.begin([clause(speed=2.0)])
    assert fast.frames < speech.frames


@pytest.mark.parametrize(
    "bad",
    [
        {"phoneme_ids": (0, 0)},
        {"phoneme_ids": (0, *[1] * 40, 0)},
        {"phoneme_ids": (0, 30, 0)},
        {"phoneme_ids": (0, 1, 0), "speaker": 1},
        {"phoneme_ids": (0, 1, 0), "speed": float("nan")},
        {"phoneme_ids": (0, 1, 0), "word_spans": (WordSpan("x", 0, 3),)},
    ],
)
def test_a_clause_the_voice_cannot_speak_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        tiny_kokoro().check(Clause(**bad))  # type: ignore[arg-type]


async def test_the_engine_speaks_with_several_voices_of_one_net() -> None:
    first = tiny_kokoro()
    second = KokoroVoice(first.info, first.net, first.styles.flip(0))
    engine = TtsEngine([first, second])
    await engine.start()
    try:
        chunks = [chunk async for chunk in engine.speak("af_tiny", clause())]
    finally:
        await engine.close()
    (speech,) = second.begin([clause()])
    assert np.array_equal(np.concatenate([chunk.pcm for chunk in chunks]), whole(second, speech))
    assert [chunk.last for chunk in chunks].count(True) == 1


def test_a_published_directory_is_loaded(tmp_path: Path) -> None:
    torch.save(tiny_states(), tmp_path / "kokoro-v1_0.pth")
    vocabulary = ", ".join(f'"{chr(97 + i)}": {i + 1}' for i in range(26))
    albert = '{"num_hidden_layers": 2, "num_attention_heads": 2}'
    (tmp_path / "config.json").write_text(f'{{"vocab": {{{vocabulary}}}, "plbert": {albert}}}')
    (tmp_path / "voices").mkdir()
    for name in ("af_heart", "jf_alpha", "zf_xiaobei"):
        torch.save(torch.randn(40, 1, 256), tmp_path / "voices" / f"{name}.pt")
    assert is_kokoro(tmp_path)
    voices = load_voices(tmp_path, dtype=torch.float32)
    assert [(voice.info.name, voice.info.language) for voice in voices] == [
        ("af_heart", "en-US"),
        ("jf_alpha", "ja-JP"),
    ]
    (speech,) = voices[0].begin([clause()])
    assert len(whole(voices[0], speech)) == speech.frames * SAMPLES_PER_FRAME


def test_another_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"decoder": {}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not a checkpoint"):
        from_checkpoint(tmp_path / "other.pth", torch.device("cpu"))
    assert not is_kokoro(tmp_path)


def test_a_quantised_graph_is_read_back() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.integers(-128, 127, (4, 3), dtype=np.int8)
    scale, zero = np.array([0.1, 0.2, 0.3], np.float32), np.array([1, 2, 3], np.int8)
    conv = rng.integers(0, 255, (2, 3, 5), dtype=np.uint8)
    gates = rng.integers(-128, 127, (2, 6, 8), dtype=np.int8)
    tensors: dict[str, np.ndarray] = {
        "w_quantized": matrix, "w_scale": scale, "w_zero_point": zero,
        "c_quantized": conv, "c_scale": np.array(0.5, np.float32), "shared_zero": np.array(7, np.uint8),
        "W": gates, "R": gates[:, :2], "B": np.arange(32, dtype=np.float32).reshape(2, 16),
        "s": np.array([1, 2], np.float32), "z": np.array([0, 1], np.int8), "encoder.predictor.F0.0.conv1.bias": np.ones(2, np.float32),
    }  # fmt: skip

    def node(name: str, op: str, *inputs: str) -> Node:
        return Node(name, op, inputs, ("y",), {}, None)

    graph = Graph(
        (
            node("/encoder/bert_encoder/MatMul_quant", "MatMulInteger", "x", "w_quantized", "xz", "w_zero_point"),
            node("/encoder/F0.0/conv1/Conv_quant", "ConvInteger", "x", "c_quantized", "xz", "shared_zero"),
            node(
                "/encoder/shared/LSTM_quant", "DynamicQuantizeLSTM",
                "x", "W", "R", "B", "", "h", "c", "", "s", "z", "s", "z",
            ),
        ),
        tensors,
    )  # fmt: skip
    weights = from_graph(graph, torch.device("cpu"))
    expected = (matrix.astype(np.float32) - zero) * scale
    np.testing.assert_allclose(weights["bert_encoder.weight"], expected.T, rtol=1e-6)
    np.testing.assert_allclose(weights["predictor.F0.0.conv1.weight"], (conv - np.float32(7)) * 0.5)
    assert weights["predictor.F0.0.conv1.bias"].tolist() == [1, 1]
    back = weights["predictor.shared.weight_ih_l0_reverse"]
    np.testing.assert_allclose(back, (gates[1].T.astype(np.float32) - 1)[[0, 1, 4, 5, 6, 7, 2, 3]] * 2)
    assert weights["predictor.shared.bias_hh_l0"].tolist() == [8, 9, 12, 13, 14, 15, 10, 11]
