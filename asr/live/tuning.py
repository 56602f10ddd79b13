"""What a caller asked of a live stream, and how the service shares out the work."""

from dataclasses import dataclass

from asr.model import DecodeRequest


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What the caller asked for."""

    template: DecodeRequest  # task, sampling and words to favour, as finals use them
    interim_results: bool = False
    vad_events: bool = False
    endpointing_ms: int = 600  # 0 never ends an utterance
    utterance_end_ms: int | None = None
    max_words: int = 0
    vad_threshold: float = 0.5
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the work is shared out. Times in ms of audio unless the name says seconds."""

    interim_ms: int = 240  # new audio, and time, between two interims
    first_interim_ms: int = 192  # speech before the first one
    opening_ms: int = 2_000  # speech in which the first text is tried for without a rest
    commit_logprob: float = -0.7  # less probable hypotheses commit nothing
    agree_ms: int = 700  # audio between two hypotheses whose agreement counts
    load_factor: float = 1.5  # an interim that took long is followed by this many times as long a rest
    preroll_ms: int = 256  # the detector is late by a consonant
    postroll_ms: int = 200
    cut_ms: int = 15_000  # a longer window is cut
    cut_retry_ms: int = 1_500
    settled_ms: int = 2_500  # words this far from the end of a window that is cut are taken as settled
    max_window_ms: int = 28_000
    # With endpointing off a stretch still closes after this silence, as a final that ends no utterance.
    silent_close_ms: int = 1_500
    language_ms: int = 2_000  # speech needed to settle the language when the model is sure
    language_sure: float = 0.7
    language_limit_ms: int = 8_000  # speech after which the likeliest language so far is taken
    # A final is decoded with the finals before it in the window, where the pause between them was this short, ...
    context_gap_ms: int = 1_300
    context_ms: int = 12_000  # ... as long as all of it fits this
