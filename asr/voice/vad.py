"""Voice activity: the Silero network in numpy. Its weights come from the silero-vad package, its code does not.

Silero VAD 6 (https://github.com/snakers4/silero-vad, MIT), 16 kHz branch. A chunk of 512 samples, with the 64
samples before it, gives one speech probability; an LSTM carries what came before. Only the LSTM depends on the
past, so the layers in front of it run over all waiting chunks of all streams in one product. Numpy keeps it away
from the thread pool of the recogniser's engine.
"""

import importlib.util
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

CHUNK_SAMPLES = 512
CHUNK_MS = 32  # at 16 kHz
CONTEXT_SAMPLES = 64
FFT_SAMPLES = 256
HOP_SAMPLES = 128
BINS = FFT_SAMPLES // 2 + 1
FRAMES = 4  # of FFT_SAMPLES in a chunk, its context and 64 mirrored samples
HIDDEN = 128

Floats = npt.NDArray[np.float32]

# Tensors of the package's TorchScript archive: entry data/2 onwards, raw little-endian float32, in this order.
_FIRST_ENTRY = 2
_SHAPES: dict[str, tuple[int, ...]] = {
    "stft": (2 * BINS, 1, FFT_SAMPLES),
    "conv1.weight": (128, BINS, 3),
    "conv1.bias": (128,),
    "conv2.weight": (64, 128, 3),
    "conv2.bias": (64,),
    "conv3.weight": (64, 64, 3),
    "conv3.bias": (64,),
    "conv4.weight": (HIDDEN, 64, 3),
    "conv4.bias": (HIDDEN,),
    "lstm.input": (4 * HIDDEN, HIDDEN),
    "lstm.recurrent": (4 * HIDDEN, HIDDEN),
    "lstm.input_bias": (4 * HIDDEN,),
    "lstm.recurrent_bias": (4 * HIDDEN,),
    "out.weight": (1, HIDDEN, 1),
    "out.bias": (1,),
}


@dataclass(slots=True)
class VadState:
    """What the network remembers of one channel."""

    context: Floats = field(default_factory=lambda: np.zeros(CONTEXT_SAMPLES, np.float32))  # [64]
    hidden: Floats = field(default_factory=lambda: np.zeros(HIDDEN, np.float32))  # [128]
    cell: Floats = field(default_factory=lambda: np.zeros(HIDDEN, np.float32))  # [128]


class SileroVad:
    """The network. Holds weights only, so any number of threads may share it; every state is the caller's."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        self._stft = np.ascontiguousarray(weights["stft"][:, 0].T)  # [256, 2 * bins]
        # conv3 has two frames and one of padding to see, conv4 one frame and two of padding: those taps go.
        taps = {1: slice(None), 2: slice(None), 3: slice(1, 3), 4: slice(1, 2)}
        self._conv = [
            (_taps(weights[f"conv{i}.weight"][:, :, keep]), weights[f"conv{i}.bias"])
            for i, keep in taps.items()
        ]
        # sigmoid(z) = tanh(z / 2) / 2 + 1 / 2, so with i, f and o halved one tanh serves all four gates.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), HIDDEN)  # gates in the order i f g o
        self._input = np.ascontiguousarray(weights["lstm.input"].T * half)  # [128, 512]
        self._recurrent = np.ascontiguousarray(weights["lstm.recurrent"].T * half)  # [128, 512]
        self._lstm_bias = (weights["lstm.input_bias"] + weights["lstm.recurrent_bias"]) * half  # [512]
        self._out = weights["out.weight"][0, :, 0].copy()  # [128]
        self._out_bias = weights["out.bias"][0]

    @staticmethod
    @cache
    def load() -> "SileroVad":
        """The weights of the installed silero-vad. Importing that package would set torch's thread count.

        Raises:
            FileNotFoundError: the package is not installed.
            ValueError: its archive does not hold the tensors expected.
        """
        spec = importlib.util.find_spec("silero_vad")
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError("the package silero-vad is not installed")
        return SileroVad(_read_archive(Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"))

    def step(self, states: list[VadState], chunks: list[Floats]) -> list[Floats]:
        """Speech probabilities of the next chunks of several channels; advances their states.

        Args:
            states: one per channel, all different.
            chunks: per channel float32 [n * 512], n at least 1 and free to differ.

        Returns:
            Per channel float32 [n], in (0, 1).
        """
        framed = []
        for state, samples in zip(states, chunks, strict=True):
            padded = np.concatenate((state.context, samples))
            windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_SAMPLES + CHUNK_SAMPLES)
            framed.append(windows[::CHUNK_SAMPLES])
            state.context = padded[-CONTEXT_SAMPLES:].copy()
        counts = [len(frames) for frames in framed]
        gates = self._encode(np.concatenate(framed)) @ self._input  # [sum of n, 512]
        gates += self._lstm_bias
        ends = np.cumsum(counts)
        hidden = self._recur(states, gates, counts, ends)
        probabilities = _sigmoid(np.maximum(hidden, 0.0) @ self._out + self._out_bias)
        return np.split(probabilities, ends[:-1])

    def _encode(self, frames: Floats) -> Floats:
        """[n, 576] samples to [n, 128] features."""
        n = len(frames)
        x = np.concatenate(
            (frames, frames[:, -2 : -2 - HOP_SAMPLES // 2 : -1]), axis=1
        )  # mirrored end, [n, 640]
        x = np.lib.stride_tricks.sliding_window_view(x, FFT_SAMPLES, axis=1)[:, ::HOP_SAMPLES]  # [n, 4, 256]
        x = x.reshape(n * FRAMES, FFT_SAMPLES) @ self._stft
        x *= x
        x = np.sqrt(x[:, :BINS] + x[:, BINS:]).reshape(n, FRAMES, BINS)
        x = self._convolve(0, x, firsts=(0, 1, 2, 3))
        x = self._convolve(1, x, firsts=(0, 2))
        for weight, bias in self._conv[2:]:
            x = _relu(x.reshape(n, -1) @ weight + bias)
        return x

    def _convolve(self, layer: int, x: Floats, firsts: tuple[int, ...]) -> Floats:
        """Three taps over [n, frames, in] with a frame of zeros on both sides, at the positions `firsts`."""
        n, frames, width = x.shape
        padded = np.zeros((n, frames + 2, width), np.float32)
        padded[:, 1:-1] = x
        taps = np.concatenate([padded[:, t : t + 3].reshape(n, 3 * width) for t in firsts], axis=1)
        weight, bias = self._conv[layer]
        return _relu(taps.reshape(n * len(firsts), 3 * width) @ weight + bias).reshape(n, len(firsts), -1)

    def _recur(
        self, states: list[VadState], gates: Floats, counts: list[int], ends: npt.NDArray[np.intp]
    ) -> Floats:
        """The LSTM over every channel's chunks, channels side by side. Returns hidden states [sum of n, 128]."""
        result = np.empty((len(gates), HIDDEN), np.float32)
        starts = ends - counts
        # Longest first: the channels that still have chunks at time t are then the first rows.
        order = sorted(range(len(counts)), key=lambda i: -counts[i])
        hidden = np.stack([states[i].hidden for i in order])  # [channels, 128]
        cell = np.stack([states[i].cell for i in order])
        live = len(order)
        for t in range(counts[order[0]]):
            while counts[order[live - 1]] <= t:
                live -= 1
            rows = starts[order[:live]] + t
            z = np.tanh(gates[rows] + hidden[:live] @ self._recurrent)
            sigmoid = 0.5 * z + 0.5
            new = sigmoid[:, HIDDEN : 2 * HIDDEN] * cell[:live]
            new += sigmoid[:, :HIDDEN] * z[:, 2 * HIDDEN : 3 * HIDDEN]
            cell[:live] = new
            hidden[:live] = result[rows] = sigmoid[:, 3 * HIDDEN :] * np.tanh(new)
        for row, i in enumerate(order):
            states[i].hidden, states[i].cell = hidden[row].copy(), cell[row].copy()
        return result


def _taps(weight: Floats) -> Floats:
    """Convolution weight [out, in, taps] as a matrix [taps * in, out]."""
    return np.ascontiguousarray(weight.transpose(2, 1, 0).reshape(-1, weight.shape[0]))


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0, out=x)


def _sigmoid(x: Floats) -> Floats:
    result: Floats = np.tanh(x * np.float32(0.5)) * np.float32(0.5) + np.float32(0.5)
    return result


def _read_archive(path: Path) -> dict[str, Floats]:
    weights = {}
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        for entry, (name, shape) in enumerate(_SHAPES.items(), _FIRST_ENTRY):
            values = np.frombuffer(archive.read(f"{root}/data/{entry}"), "<f4")
            if values.size != np.prod(shape):
                raise ValueError(f"{path.name} holds {values.size} values where {name} was expected")
            weights[name] = values.reshape(shape).astype(np.float32)
    return weights
