"""A loaded Whisper checkpoint behind its engine: the Recogniser the service uses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from asr.engine.job import Job
from asr.engine.thread import STALL_S, EngineThread
from asr.engine.tokens import WhisperTokens
from asr.model import MAX_WINDOW_S, MAX_WINDOW_SAMPLES, SAMPLE_RATE_HZ, DecodeRequest, DecodeResult
from asr.models.decoder import Segment
from asr.models.load import Source, open_source
from asr.models.quant import resolve_compute_type
from asr.models.whisper import TRAILING_SILENCE_SAMPLES, WINDOW_SAMPLES, Whisper
from common.errors import AudioTooLong, InvalidArgument
from common.memory import give_back, keep_buffers

_PENDING_PER_SLOT = 8
_DIGITAL_SILENCE = 2 / 32_768  # a peak of one step of 16-bit audio: dither at most
_WARM_UP_S = 13.0  # longer windows are rare enough to be compiled for when they come


class WhisperRecogniser:
    """Implements asr.model.Recogniser."""

    sample_rate = SAMPLE_RATE_HZ

    def __init__(
        self,
        name: str,
        model: Whisper,
        tokens: WhisperTokens,
        suppress_begin: Sequence[int],
        *,
        stall_s: float = STALL_S,
    ) -> None:
        self.name, self.device = name, str(model.device)
        self.languages, self.capacity = tokens.languages, model.slots
        self._model, self._tokens = model, tokens
        self._first_ban = tuple(suppress_begin) or (*tokens.encode_exactly(" "), tokens.eot)
        self._engine = EngineThread(
            model,
            self._make_job,
            end_of_text=tokens.eot,
            pending_max=_PENDING_PER_SLOT * model.slots,
            name=f"asr-{name}",
            stall_s=stall_s,
        )

    @property
    def healthy(self) -> bool:
        """False while a step has stalled or after the engine stopped."""
        return self._engine.healthy

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return self._engine.waiting

    @property
    def slots_taken(self) -> int:
        """Slots in use."""
        return self._engine.slots_taken

    async def decode(self, request: DecodeRequest) -> DecodeResult:
        """Decodes one window; see asr.model.Recogniser."""
        if not request.prefix and (
            not len(request.pcm) or float(np.abs(request.pcm).max()) < _DIGITAL_SILENCE
        ):
            return DecodeResult(language=request.language, no_speech_prob=1.0)
        return await self._engine.submit(request)

    def encode_text(self, text: str) -> list[int]:
        """Text tokens of `text`, which gets the leading space that starts a word."""
        return self._tokens.encode(text)

    def decode_tokens(self, ids: list[int] | tuple[int, ...]) -> str:
        """Text of tokens, with its leading space; special tokens are left out."""
        return self._tokens.decode(ids)

    def close(self) -> None:
        """Stops the engine: waiting requests fail with Unavailable. Blocks until its thread ended."""
        self._engine.close()

    def _make_job(self, request: DecodeRequest) -> Job:
        if len(request.pcm) > MAX_WINDOW_SAMPLES:
            raise AudioTooLong(f"a window holds at most {MAX_WINDOW_S} s of audio")
        if request.pcm.dtype != np.float32 or request.pcm.ndim != 1:
            raise InvalidArgument("a window is a row of float32 samples")
        if request.language and request.language not in self.languages:
            raise InvalidArgument("this model does not know that language", languages=list(self.languages))
        given = (*request.prefix, *request.context, *request.draft)
        if given and not 0 <= min(given) <= max(given) < self._tokens.eot:
            raise InvalidArgument("given tokens must be text tokens")
        return Job(request, self._model, self._tokens, self._first_ban)


def load_recogniser(
    path: Path, *, name: str, device: str, threads: int, slots: int, compute_type: str = "auto"
) -> WhisperRecogniser:
    """Loads a checkpoint, warms it up and starts its engine. Blocking: seconds.

    Args:
        path: a CTranslate2 or Hugging Face directory, or an OpenAI .pt file; `tokenizer.json` lies in it or beside.
        name: of the checkpoint, in results and logs.
        device: "cpu", "cuda" or "cuda:N".
        threads: cores to compute with on CPU.
        slots: requests decoded at the same time; a beam takes as many as it is wide.
        compute_type: auto, int8, bf16, fp16 or fp32.

    Raises:
        BadCheckpoint: not a Whisper checkpoint that can be read.
        FileNotFoundError: the tokenizer is missing.
        ValueError: a compute type that the device cannot run.
    """
    keep_buffers()
    source = open_source(path)
    folder = path if path.is_dir() else path.parent
    tokens = WhisperTokens.load(folder / "tokenizer.json", multilingual=source.dims.multilingual)
    model = build_model(
        source, tokens, device=device, threads=threads, slots=slots, compute_type=compute_type
    )
    suppress_begin = source.suppress_begin
    del source  # and with it the mapped file
    give_back()
    _warm_up(model, tokens)
    return WhisperRecogniser(name, model, tokens, suppress_begin)


def build_model(
    source: Source,
    tokens: WhisperTokens,
    *,
    device: str,
    threads: int,
    slots: int,
    compute_type: str = "auto",
) -> Whisper:
    """The model of a source; arguments as in `load_recogniser`."""
    where = torch.device(device)
    return Whisper(
        source.dims,
        source.weights,
        device=where,
        compute=resolve_compute_type(compute_type, where),
        slots=slots,
        threads=threads,
        alignment_heads=source.alignment_heads,
        suppress=[token for token in source.suppress if 0 <= token < tokens.eot],
    )


def _warm_up(model: Whisper, tokens: WhisperTokens) -> None:
    """Runs every kind of call once: the first use of a shape compiles kernels and touches memory."""
    model.prepare()
    start = tokens.start(tokens.languages[0], "transcribe")
    rows = range(min(2, model.slots))
    for samples in (length for length in WINDOW_SAMPLES if length <= _WARM_UP_S * SAMPLE_RATE_HZ):
        pcm = np.zeros(samples - TRAILING_SILENCE_SAMPLES, np.float32)
        states = model.encode([pcm], [True])[0]
        for row in rows:
            model.hear(row, states)
    for _ in range(2):
        model.forward([Segment(row, start, [len(start) - 1]) for row in rows])
        model.forward([Segment(row, [0], [0]) for row in rows])
    model.forward([Segment(0, [0], [0])])
