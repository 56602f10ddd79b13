"""The Silero network in numpy, and the worker that shares it."""

import asyncio

import numpy as np
import pytest

from asr.voice.vad import CHUNK_SAMPLES, SileroVad, VadState
from asr.voice.worker import MAX_PIECE_CHUNKS, VadWorker
from common.errors import Unavailable

REFERENCE_NOISE = [0.00764, 0.014051, 0.03246, 0.022876]


@pytest.fixture(scope="module")
def network() -> SileroVad:
    return SileroVad.load()


def noise(chunks: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(chunks * CHUNK_SAMPLES)).astype(np.float32)


def buzz(chunks: int) -> np.ndarray:
    """A pulse train of 120 Hz through two resonances: as near to a vowel as a formula gets."""
    n = np.arange(chunks * CHUNK_SAMPLES)
    pulses = (n % 133 == 0).astype(np.float64)
    for formant, width in ((700.0, 90.0), (1200.0, 110.0)):
        radius, angle = np.exp(-np.pi * width / 16_000), 2 * np.pi * formant / 16_000
        impulse = radius ** np.arange(800) * np.sin(angle * np.arange(1, 801))
        pulses = np.convolve(pulses, impulse)[: len(n)]
    return np.asarray(0.3 * pulses / np.abs(pulses).max(), np.float32)


def test_agrees_with_the_package_own_model(network: SileroVad) -> None:
    # Probabilities that silero-vad 6.2.3 itself computes for this noise, chunk by chunk.
    got = network.step([VadState()], [noise(4)])[0]
    assert got == pytest.approx(REFERENCE_NOISE, abs=1e-4)


def test_zeros_are_no_speech(network: SileroVad) -> None:
    probabilities = network.step([VadState()], [np.zeros(50 * CHUNK_SAMPLES, np.float32)])[0]
    assert probabilities.max() < 0.1


def test_a_vowel_is_more_like_speech_than_noise(network: SileroVad) -> None:
    vowel = network.step([VadState()], [buzz(20)])[0]
    hiss = network.step([VadState()], [noise(20)])[0]
    assert vowel[5:].mean() > hiss[5:].mean()


def test_pieces_give_what_the_whole_gives(network: SileroVad) -> None:
    samples = np.concatenate((noise(5), buzz(6)))
    whole = network.step([VadState()], [samples])[0]
    state, pieces = VadState(), []
    for begin, end in ((0, 1), (1, 4), (4, 11)):
        pieces.append(network.step([state], [samples[begin * CHUNK_SAMPLES : end * CHUNK_SAMPLES]])[0])
    assert np.concatenate(pieces) == pytest.approx(whole, abs=1e-5)


def test_channels_side_by_side_do_not_mix(network: SileroVad) -> None:
    inputs = [noise(3), buzz(7), noise(1, seed=2), np.zeros(5 * CHUNK_SAMPLES, np.float32)]
    alone = [network.step([VadState()], [samples])[0] for samples in inputs]
    together = network.step([VadState() for _ in inputs], inputs)
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


async def test_the_worker_answers_many_streams_at_once(network: SileroVad) -> None:
    worker = VadWorker(network)
    try:
        inputs = [noise(1 + i % 5, seed=i) for i in range(20)] + [noise(3 * MAX_PIECE_CHUNKS + 5)]
        results = await asyncio.gather(*(worker.probabilities(VadState(), samples) for samples in inputs))
        for samples, got in zip(inputs, results, strict=True):
            assert got == pytest.approx(network.step([VadState()], [samples])[0], abs=1e-5)
        assert len(await worker.probabilities(VadState(), np.empty(0, np.float32))) == 0
    finally:
        worker.close()


async def test_a_closed_worker_says_so(network: SileroVad) -> None:
    worker = VadWorker(network)
    worker.close()
    with pytest.raises(Unavailable):
        await worker.probabilities(VadState(), noise(1))
