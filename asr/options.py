"""The first message of a stream, checked: what may be asked for and what it means."""

import re
from dataclasses import dataclass

import betterproto2

from asr.model import DecodeRequest, Keyterm, Pcm, Priority, Task
from asr.transcript.text import Style
from common.errors import InvalidArgument, MissingParameter
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

MAX_AUDIO_MESSAGE_BYTES = 1 << 20
MAX_ENDPOINTING_MS = 60_000
MAX_UTTERANCE_END_MS = 60_000
MAX_WORDS = 10_000
MAX_BEAM = 10
MAX_KEYTERMS = 1_000
MAX_PHRASE_CHARACTERS = 100
MAX_KEYTERM_WEIGHT = 20.0
DEFAULT_KEYTERM_WEIGHT = 2.0
MAX_PROMPT_CHARACTERS = 10_000
MAX_SPEAKERS = 32
MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS = 100, 600_000
MAX_OFFSET_MS = 2**48  # nine thousand years, and exact in a double

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Options:
    """One stream's config in the service's own terms."""

    format: AudioFormat
    batch: bool
    model: str
    language: str  # ISO 639 code; "" detects
    task: Task
    style: Style
    keyterms: tuple[Keyterm, ...]
    prompt: str
    interim_results: bool
    word_times: bool
    vad_events: bool
    endpointing_ms: int
    utterance_end_ms: int | None
    max_words: int
    vad_threshold: float
    offset_ms: int
    temperature: float
    beam_size: int
    multichannel: bool
    diarize: bool
    num_speakers: int  # 0 estimates it
    progress: bool
    heartbeat_ms: int  # 0 sends none

    @property
    def features(self) -> list[str]:
        """Options worth counting in the usage ledger, under the names the edge counts them by."""
        flags = {
            "word_times": self.word_times,
            "diarize": self.diarize,
            "multichannel": self.multichannel,
            "keyterms": bool(self.keyterms),
            "translate": self.task == "translate",
            "punctuation": not self.style.no_punctuation,
        }
        return [name for name, used in flags.items() if used]

    def template(self, nothing: Pcm, context: tuple[int, ...]) -> DecodeRequest:
        """What every decode of the stream has in common; `nothing` is empty audio."""
        return DecodeRequest(
            pcm=nothing,
            language=self.language,
            task=self.task,
            priority=Priority.BATCH if self.batch else Priority.STREAM,
            context=context,
            word_times=self.word_times,
            temperature=self.temperature,
            beam_size=self.beam_size,
            keyterms=self.keyterms,
        )


def read_config(request: pb.RecognizeRequest | None, *, endpointing_ms: int, vad_threshold: float) -> Options:
    """Checks the first message.

    Args:
        request: None when the caller sent nothing.
        endpointing_ms: default of the server.
        vad_threshold: default of the server.

    Raises:
        MissingParameter: no config.
        InvalidArgument: a value out of range, with the range in the message.
    """
    kind, config = which(request) if request is not None else ("", None)
    if kind != "config" or not isinstance(config, pb.RecognizeConfig):
        raise MissingParameter("the first message must hold the config")
    layout = config.format or AudioFormat()  # a container that names its own format
    _within("format.encoding", int(layout.encoding), 0, max(int(e) for e in Encoding))
    _within("format.channels", layout.channels, 0, 16)
    _within("mode", int(config.mode), 0, int(pb.Mode.BATCH))
    _within("task", int(config.task), 0, int(pb.Task.TRANSLATE))
    if config.endpointing_ms is not None:
        _within("endpointing_ms", config.endpointing_ms, 0, MAX_ENDPOINTING_MS)
    if config.utterance_end_ms is not None:
        _within("utterance_end_ms", config.utterance_end_ms, 1, MAX_UTTERANCE_END_MS)
    _within("max_words", config.max_words, 0, MAX_WORDS)
    _within("beam_size", config.beam_size, 0, MAX_BEAM)
    _within("temperature", config.temperature, 0.0, 1.0)
    _within("offset_ms", config.offset_ms, 0, MAX_OFFSET_MS)
    _within("num_speakers", config.num_speakers, 0, MAX_SPEAKERS)
    if config.heartbeat_ms:
        _within("heartbeat_ms", config.heartbeat_ms, MIN_HEARTBEAT_MS, MAX_HEARTBEAT_MS)
    if config.vad_threshold and not 0 < config.vad_threshold < 1:
        raise InvalidArgument("vad_threshold must lie between 0 and 1")
    if len(config.prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidArgument(f"prompt must have at most {MAX_PROMPT_CHARACTERS} characters")
    return Options(
        format=layout,
        batch=config.mode == pb.Mode.BATCH,
        model=config.model,
        language=_language(config.language),
        task="translate" if config.task == pb.Task.TRANSLATE else "transcribe",
        style=Style(config.no_punctuation, config.no_capitalization, config.profanity_filter),
        keyterms=_keyterms(config.keyterms),
        prompt=config.prompt.strip(),
        interim_results=config.interim_results,
        word_times=config.word_times or config.diarize,  # speakers are said of words
        vad_events=config.vad_events,
        endpointing_ms=endpointing_ms if config.endpointing_ms is None else config.endpointing_ms,
        utterance_end_ms=config.utterance_end_ms,
        max_words=config.max_words,
        vad_threshold=config.vad_threshold or vad_threshold,
        offset_ms=config.offset_ms,
        temperature=config.temperature,
        beam_size=max(config.beam_size, 1),
        multichannel=config.multichannel,
        diarize=config.diarize,
        num_speakers=config.num_speakers,
        progress=config.progress,
        heartbeat_ms=0 if config.mode == pb.Mode.BATCH else config.heartbeat_ms,
    )


def read_message(request: pb.RecognizeRequest) -> bytes | None:
    """A later message: its audio, or None for a flush.

    Raises:
        InvalidArgument: neither, both, a second config, or audio that is too large.
    """
    kind, value = which(request)
    if kind == "flush":
        return None
    if kind == "config":
        raise InvalidArgument("the config may only be sent once")
    if kind != "audio" or not isinstance(value, bytes):
        raise InvalidArgument("a message after the config must hold audio or a flush")
    if len(value) > MAX_AUDIO_MESSAGE_BYTES:
        raise InvalidArgument(
            f"an audio message may hold at most {MAX_AUDIO_MESSAGE_BYTES} bytes",
            max_bytes=MAX_AUDIO_MESSAGE_BYTES,
        )
    return value


def which(request: pb.RecognizeRequest) -> tuple[str, object]:
    """The arm of the message that is set. Raises InvalidArgument when it is not exactly one."""
    try:
        return betterproto2.which_one_of(request, "message")
    except RuntimeError:
        raise InvalidArgument("a message must hold exactly one of config, audio and flush") from None


def _within(name: str, value: float, low: float, high: float) -> None:
    # `not` also catches NaN, which compares false with everything.
    if not low <= value <= high:
        raise InvalidArgument(f"{name} must be {low:g} to {high:g}")


def _language(tag: str) -> str:
    tag = tag.strip().replace("_", "-").lower()
    if tag and not _LANGUAGE.fullmatch(tag):
        raise InvalidArgument('language must be an ISO 639-1 code or a BCP-47 tag such as "en" or "en-US"')
    return tag.split("-")[0]


def _keyterms(terms: list[pb.Keyterm]) -> tuple[Keyterm, ...]:
    if len(terms) > MAX_KEYTERMS:
        raise InvalidArgument(f"at most {MAX_KEYTERMS} keyterms are accepted")
    result = []
    for term in terms:
        phrase = " ".join(term.phrase.split())
        if not phrase or len(phrase) > MAX_PHRASE_CHARACTERS:
            raise InvalidArgument(f"a keyterm must have 1 to {MAX_PHRASE_CHARACTERS} characters")
        _within("a keyterm's weight", term.weight, -MAX_KEYTERM_WEIGHT, MAX_KEYTERM_WEIGHT)
        result.append(Keyterm(phrase, term.weight or DEFAULT_KEYTERM_WEIGHT))
    return tuple(result)
