from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import InvalidArgument
from tests.fakes.tiny_vits import HOP, LATENT, RATE_HZ, SYMBOLS, tiny_voice, tiny_weights
from tts.model import Clause, WordSpan
from tts.models.conv import Conv, Upsample
from tts.models.duration import TAIL, inverse_spline
from tts.models.hifigan import Decoder
from tts.models.stretches import VitsSpeech
from tts.models.vits import VitsVoice
from tts.models.weights import Weights

# What is left of a sum when its terms are added in another order; a 16-bit sample is 30 times coarser.
EXACT = 1e-6


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Products this small are slower on two threads, far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clause(length: int = 60, **fields: object) -> Clause:
    generator = np.random.default_rng(7)
    ids = tuple(int(i) for i in generator.integers(0, SYMBOLS, length))
    return Clause(ids, **({"seed": 1} | fields))  # type: ignore[arg-type]


def speak(voice: VitsVoice, speech: VitsSpeech, *sizes: int) -> np.ndarray:
    """All of the clause, in chunks of `sizes`, the last size repeated."""
    parts, turn = [], 0
    while speech.done < speech.frames:
        parts += voice.decode([speech], sizes[min(turn, len(sizes) - 1)])
        turn += 1
    return np.concatenate(parts)


@torch.inference_mode()
def whole(voice: VitsVoice, speech: VitsSpeech) -> np.ndarray:
    """The clause as VITS computes it: flow and decoder over everything at once."""
    speaker = None if speech.speaker is None else speech.speaker.unsqueeze(0)
    latents = voice.flow(speech.prior.unsqueeze(0), speaker)
    return voice.decoder(latents, [0], speech.frames, speaker)[0].numpy()


def plain_decoder(weights: Weights, z: Tensor, speaker: Tensor | None) -> Tensor:
    """HiFi-GAN written as in the paper, on [batch, channels, frames]."""
    w = weights.sub("dec").tensors
    x = F.conv1d(z, w["dec.conv_pre.weight"], w["dec.conv_pre.bias"], padding=3)
    if speaker is not None:
        x = x + F.conv1d(speaker, w["dec.cond.weight"], w["dec.cond.bias"])
    for i, stride in enumerate((4, 2)):
        up, bias = w[f"dec.ups.{i}.weight"], w[f"dec.ups.{i}.bias"]
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), up, bias, stride=stride, padding=stride // 2)
        total = torch.zeros_like(x)
        for block in (2 * i, 2 * i + 1):
            y = x
            for step in range(2):
                h = y
                for name in ("convs", "convs1", "convs2"):
                    key = f"dec.resblocks.{block}.{name}.{step}"
                    if f"{key}.weight" in w:
                        kernel, d = w[f"{key}.weight"], weights.settings[key]["dilation"]
                        pad = d * (kernel.shape[2] // 2)
                        h = F.conv1d(F.leaky_relu(h, 0.1), kernel, w[f"{key}.bias"], dilation=d, padding=pad)
                y = y + h
            total = total + y
        x = total / 2
    return F.conv1d(F.leaky_relu(x, 0.01), w["dec.conv_post.weight"], padding=3).tanh()[:, 0]


@pytest.mark.parametrize("two_convs", [False, True])
@pytest.mark.parametrize("speakers", [1, 3])
def test_decoder_is_hifigan(two_convs: bool, speakers: int) -> None:
    weights = tiny_weights(two_convs=two_convs, speakers=speakers)
    z = torch.randn(2, 30, LATENT)
    speaker = None if speakers == 1 else torch.randn(2, 1, 6)
    ours = Decoder(weights.sub("dec"), torch.float32)(z, [0, 0], 30, speaker)
    plain = plain_decoder(weights, z.mT, None if speaker is None else speaker.mT)
    torch.testing.assert_close(ours, plain, atol=EXACT, rtol=0)


@pytest.mark.parametrize("sizes", [(12, 24, 48), (1,), (7,), (96,), (5, 96)])
@pytest.mark.parametrize("two_convs", [False, True])
def test_chunks_join_to_the_whole(sizes: tuple[int, ...], two_convs: bool) -> None:
    voice = tiny_voice(two_convs=two_convs)
    (speech,) = voice.begin([clause(90)])
    assert speech.frames > 150  # several windows of the flow, too
    chunks = speak(voice, speech, *sizes)
    assert len(chunks) == speech.frames * HOP
    np.testing.assert_allclose(chunks, whole(voice, speech), atol=EXACT, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 20])
def test_short_clauses_join_to_the_whole(length: int) -> None:
    voice = tiny_voice()
    (speech,) = voice.begin([clause(length)])
    np.testing.assert_allclose(speak(voice, speech, 3), whole(voice, speech), atol=EXACT, rtol=0)


@pytest.mark.parametrize("batches", [False, True])
def test_a_batch_says_what_each_clause_says_alone(batches: bool) -> None:
    voice = tiny_voice(speakers=3)
    voice.stretches.batches = batches
    clauses = [clause(60), clause(17, speaker=2), clause(60, speaker=1, seed=5), clause(60, speed=1.4)]
    alone = [speak(voice, voice.begin([c])[0], 12, 24) for c in clauses]
    speeches = voice.begin(clauses)
    together: list[list[np.ndarray]] = [[] for _ in clauses]
    for size in (12, *[24] * 40):
        open_ = [i for i, s in enumerate(speeches) if s.done < s.frames]
        for i, pcm in zip(open_, voice.decode([speeches[i] for i in open_], size), strict=True):
            together[i].append(pcm)
    for one, parts in zip(alone, together, strict=True):
        np.testing.assert_allclose(np.concatenate(parts), one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [8, 20, 90, 200])
def test_several_cores_say_what_one_says(length: int) -> None:
    one, many = tiny_voice(), tiny_voice(threads=3)
    clauses = [clause(length, seed=seed) for seed in (1, 2)]
    alone = [speak(one, one.begin([c])[0], 12, 48, 206) for c in clauses]
    speeches = many.begin(clauses)
    for speech, expected in zip(speeches, alone, strict=True):
        np.testing.assert_allclose(speak(many, speech, 12, 48, 206), expected, atol=EXACT, rtol=0)


def test_the_first_sound_needs_only_the_first_latents() -> None:
    voice = tiny_voice()
    (speech,) = voice.begin([clause(120)])
    voice.decode([speech], 12)
    assert 12 <= speech.ready < speech.frames // 2


def test_speed_changes_length() -> None:
    voice = tiny_voice()
    slow, normal, fast = voice.begin([clause(120, speed=speed, noise_w=0.0) for speed in (0.5, 1.0, 2.0)])
    assert slow.frames > 1.5 * normal.frames > 1.5 * 1.2 * fast.frames


def test_a_seed_repeats_and_no_seed_does_not() -> None:
    voice = tiny_voice()
    first, again, other = (speak(voice, voice.begin([clause(40, seed=s)])[0], 24) for s in (3, 3, None))
    np.testing.assert_array_equal(first, again)
    assert len(other) != len(first) or not np.allclose(other, first)


def test_word_times_follow_the_durations() -> None:
    voice = tiny_voice()
    spans = (WordSpan("one", 1, 9), WordSpan("two", 11, 30), WordSpan("three", 31, 58))
    (speech,) = voice.begin([clause(60, word_spans=spans)])
    assert [w.text for w in speech.words] == ["one", "two", "three"]
    times = [t for w in speech.words for t in (w.start_s, w.end_s)]
    assert times == sorted(times)
    assert speech.words[0].start_s == pytest.approx(speech.durations[0] * HOP / RATE_HZ)
    assert times[-1] <= speech.frames * HOP / RATE_HZ


@pytest.mark.parametrize(
    "bad",
    [
        {"phoneme_ids": ()},
        {"phoneme_ids": (0, SYMBOLS)},
        {"phoneme_ids": (-1,)},
        {"phoneme_ids": (1,) * 501},
        {"phoneme_ids": (1,), "speaker": 1},
        {"phoneme_ids": (1,), "speed": 0.0},
        {"phoneme_ids": (1,), "speed": float("nan")},
        {"phoneme_ids": (1, 2), "word_spans": (WordSpan("x", 0, 2),)},
    ],
)
def test_a_clause_the_voice_cannot_speak_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        tiny_voice().check(Clause(**bad))  # type: ignore[arg-type]


def test_upsample_is_a_transposed_convolution() -> None:
    x, weight, bias = torch.randn(2, 9, 6), torch.randn(6, 5, 16), torch.randn(5)
    expected = F.conv_transpose1d(x.mT, weight, bias, stride=8, padding=4).mT
    torch.testing.assert_close(Upsample(weight, bias, 8, 4)(x), expected, atol=1e-5, rtol=1e-5)


def test_convolution_of_any_length_and_batch() -> None:
    weight, bias = torch.randn(7, 6, 5), torch.randn(7)
    conv = Conv(weight, bias, dilation=3)
    for batch, time in ((1, 1), (1, 40), (3, 40), (1, 500)):
        x, total = torch.randn(batch, time, 6), torch.randn(batch, time, 7)
        expected = F.conv1d(x.mT, weight, bias, dilation=3, padding=6).mT
        torch.testing.assert_close(conv(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(conv.plus(x, total), expected + total, atol=1e-5, rtol=1e-5)
        added = conv.plus(x, total.clone(), overwrite=True)
        torch.testing.assert_close(added, expected + total, atol=1e-5, rtol=1e-5)


def test_spline_is_monotone_and_the_identity_outside() -> None:
    widths, heights, slopes = (torch.randn(size).expand(400, size) for size in (10, 10, 9))
    y = torch.linspace(-TAIL - 1, TAIL + 1, 400)
    x = inverse_spline(y, widths, heights, slopes)
    assert bool((x.diff() > 0).all())
    outside = y.abs() > TAIL
    assert torch.equal(x[outside], y[outside])
