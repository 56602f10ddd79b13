"""What every dialect is translated to: options of a request, what a client's message asks for, a transcript."""

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from common.audio import SAMPLE_RATE_HZ
from common.errors import VoxmeshError
from common.pb.voxmesh.asr.v1 import (
    Keyterm,
    Mode,
    RecognizeConfig,
    RecognizeResponse,
    Result,
    Summary,
    Task,
    Word,
)
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts.v1 import Markup, Pronunciation, SynthesizeConfig
from edge.dialects.callbacks import Callback
from edge.finish.options import Finish
from edge.values import Json

MAX_SEED = 2**32 - 1  # as much as the wire holds


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """How to recognise. `format` is what the client sends; the mesh gets PCM at its own rate."""

    format: AudioFormat = field(default_factory=AudioFormat)
    model: str = ""
    language: str = ""  # "" detects
    task: Task = Task.TRANSCRIBE
    interim_results: bool = False
    word_times: bool = False
    vad_events: bool = False
    endpointing_ms: int | None = None
    utterance_end_ms: int | None = None
    max_words: int = 0
    vad_threshold: float = 0.0
    punctuate: bool = True
    capitalize: bool = True
    keyterms: tuple[tuple[str, float], ...] = ()
    prompt: str = ""
    temperature: float = 0.0
    multichannel: bool = False
    diarize: bool = False
    num_speakers: int = 0
    profanity_filter: bool = False
    finish: Finish = field(default_factory=Finish)

    def config(
        self, mode: Mode, *, channels: int = 1, offset_ms: int = 0, heartbeat_ms: int = 0
    ) -> RecognizeConfig:
        """The first message of a recogniser stream that gets mesh PCM."""
        return RecognizeConfig(
            format=AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=SAMPLE_RATE_HZ, channels=channels),
            mode=mode,
            model=self.model,
            language=self.language,
            task=self.task,
            interim_results=self.interim_results,
            word_times=self.word_times,
            vad_events=self.vad_events,
            endpointing_ms=self.endpointing_ms,
            utterance_end_ms=self.utterance_end_ms,
            max_words=self.max_words,
            vad_threshold=self.vad_threshold,
            no_punctuation=not self.punctuate,
            no_capitalization=not self.capitalize,
            keyterms=[Keyterm(phrase=phrase, weight=weight) for phrase, weight in self.keyterms],
            prompt=self.prompt,
            offset_ms=offset_ms,
            temperature=self.temperature,
            multichannel=self.multichannel and channels > 1,
            diarize=self.diarize,
            num_speakers=self.num_speakers,
            profanity_filter=self.profanity_filter,
            heartbeat_ms=heartbeat_ms,
        )

    @property
    def features(self) -> list[str]:
        """Options worth counting in the usage ledger."""
        flags = {
            "word_times": self.word_times,
            "diarize": self.diarize,
            "multichannel": self.multichannel,
            "keyterms": bool(self.keyterms),
            "translate": self.task == Task.TRANSLATE,
            "punctuation": self.punctuate,
            "redaction": bool(self.finish.redact),
        }
        return [name for name, used in flags.items() if used]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakOptions:
    """How to speak."""

    voice: str = ""  # "" is the default voice
    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate_hz: int = 0  # 0 is the voice's own
    bit_rate: int = 0
    seed: int = 0  # 0 is another each time
    speed: float = 1.0
    pitch: float = 0.0
    volume_db: float = 0.0
    language: str = ""
    word_times: bool = False
    ssml: bool = False
    max_buffer_delay_ms: int = 0
    pronunciations: tuple[tuple[str, str], ...] = ()
    dictionaries: tuple[str, ...] = ()  # ids of pronunciations that the caller keeps here

    def config(self) -> SynthesizeConfig:
        """The first message of a synthesiser stream."""
        return SynthesizeConfig(
            voice=self.voice,
            format=AudioFormat(encoding=self.encoding, sample_rate_hz=self.sample_rate_hz, channels=1),
            speed=self.speed,
            pitch=self.pitch,
            volume_db=self.volume_db,
            word_times=self.word_times,
            markup=Markup.SSML if self.ssml else Markup.PLAIN,
            max_buffer_delay_ms=self.max_buffer_delay_ms,
            bit_rate=self.bit_rate,
            seed=self.seed,
            pronunciations=[
                Pronunciation(word=word, pronunciation=said) for word, said in self.pronunciations
            ],
            language=self.language,
        )

    def with_encoding(self, encoding: Encoding) -> "SpeakOptions":
        return replace(self, encoding=encoding)


# Words and how they are said.
Pronunciations = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Pronunciations that a caller keeps here."""

    id: str
    items: Pronunciations
    created_at: str  # RFC 3339


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """Text to be spoken whole."""

    text: str
    options: SpeakOptions
    headers: tuple[tuple[str, str], ...] = ()  # of the answer


# What a message of a listening client asks for.


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio in the format of the options."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """A final for what was heard so far."""


@dataclass(frozen=True, slots=True)
class End:
    """No more audio: the last words, then close."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs no recogniser."""

    message: Json


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Other options from here on; what was heard before is finished with the old ones."""

    options: ListenOptions


Action = Audio | Flush | End | Reply | Reconfigure


class ListenProtocol(Protocol):
    """One streaming client in its dialect, without I/O: messages in, actions out; events in, messages out."""

    options: ListenOptions
    idle_s: float | None  # longest silence between two messages; None is the setting's
    close_reason: str  # text of the closing frame after idle_s

    def opened(self) -> list[Json]:
        """What the client hears first."""
        ...

    def binary(self, data: bytes) -> list[Action]:
        """A binary frame; raises InvalidArgument."""
        ...

    def text(self, text: str) -> list[Action]:
        """A text frame; raises InvalidArgument."""
        ...

    def ending(self) -> None:
        """The client sends no more audio."""
        ...

    def event(self, response: RecognizeResponse) -> list[Json]:
        """An event of the recogniser."""
        ...

    def failed(self, error: VoxmeshError) -> list[Json]:
        """The stream ends with an error."""
        ...


@runtime_checkable
class HearsQuiet(Protocol):
    """A dialect whose clients leave it to the server to find the ends, and may stop sending where speech stops."""

    quiet_s: float  # silence on the wire that ends what was being said

    def quiet(self) -> list[Action]:
        """The client has sent nothing for `quiet_s`; asked once for each such silence."""
        ...


@runtime_checkable
class CallsBack(Protocol):
    """A dialect whose clients may want the messages at a url instead of on the socket."""

    callback: Callback | None

    def calling_back(self) -> Json:
        """What the socket hears instead."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """A dialect whose streams have a name that clients know, and can go on with."""

    public_id: str  # as the messages show it
    resuming: bool  # the client comes back

    def resumed(self, found: bool, at_ms: int) -> list[Json]:
        """Whether anything was found, and how far the audio is known."""
        ...


@dataclass(slots=True)
class Transcript:
    """A finished batch recognition."""

    request_id: str
    results: list[Result]  # finals in the order of time
    summary: Summary
    model: str  # checkpoint that served it
    options: ListenOptions
    duration_ms: int
    n_bytes: int = 0  # size of the recording as it was sent
    sha256: str = ""  # of the same

    @property
    def text(self) -> str:
        return self.channel_text(None)

    def channel(self, channel: int | None) -> list[Result]:
        return [one for one in self.results if channel is None or one.channel == channel]

    def channel_text(self, channel: int | None) -> str:
        return " ".join(text for one in self.channel(channel) if (text := one.text.strip()))

    def words(self, channel: int | None = None) -> list[Word]:
        return [word for one in self.channel(channel) for word in one.words]

    @property
    def confidence(self) -> float:
        return self.channel_confidence(None)

    def channel_confidence(self, channel: int | None) -> float:
        """Mean over the text, weighted by its length."""
        results = self.channel(channel)
        weight = sum(len(one.text) for one in results)
        return round(sum(one.confidence * len(one.text) for one in results) / weight, 4) if weight else 0.0

    @property
    def language(self) -> str:
        return self.summary.language or self.options.language.split("-")[0]
