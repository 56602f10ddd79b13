"""What a stream says about its audio, before it is put on the wire. Times are ms of the caller's clock."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word as written."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    speaker: int | None = None  # from 0, where speakers were asked for


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one stretch of audio. Interims replace one another until a final closes the stretch."""

    text: str
    start_ms: int
    end_ms: int
    is_final: bool = False
    speech_final: bool = False
    from_flush: bool = False
    committed: str = ""  # head of `text` that later interims of this stretch keep
    confidence: float = 0.0
    language: str = ""
    words: tuple[TimedWord, ...] = ()
    tokens: tuple[int, ...] = ()
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    at_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    last_word_end_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    done_ms: int
    total_ms: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """No news, in good health."""


Event = Transcript | SpeechStarted | SpeechEnded | UtteranceEnd | Progress | Heartbeat


@dataclass(slots=True)
class Tally:
    """A stream in numbers, for its summary."""

    compute_ms: int = 0
    characters: dict[str, int] = field(default_factory=dict)  # of finals, by language
    probability: dict[str, float] = field(default_factory=dict)  # of a detected language, by language

    def final(self, transcript: Transcript) -> None:
        """Counts a final."""
        if transcript.text:
            counted = self.characters.get(transcript.language, 0)
            self.characters[transcript.language] = counted + len(transcript.text)

    def detected(self, language: str, probability: float) -> None:
        """Notes how sure the model was of a language it detected."""
        self.probability[language] = max(probability, self.probability.get(language, 0.0))

    def add(self, other: "Tally") -> None:
        """Adds another channel's figures."""
        self.compute_ms += other.compute_ms
        for language, count in other.characters.items():
            self.characters[language] = self.characters.get(language, 0) + count
        for language, probability in other.probability.items():
            self.detected(language, probability)

    @property
    def language(self) -> str:
        """Language of most of the text."""
        return max(self.characters, key=lambda code: self.characters[code], default="")
