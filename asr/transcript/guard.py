"""Is this text what somebody said? Whisper writes fluent sentences for noise; several signs together tell.

Never a list of phrases: people do say "thank you".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from asr.model import DecodedWord, DecodeResult

# Both from openai-whisper's own rule for silence: no speech is believed when the text is improbable too.
NO_SPEECH_PROB = 0.6
IMPROBABLE_LOGPROB = -1.0
# Text this improbable is noise whatever the model thinks of the audio.
HOPELESS_LOGPROB = -1.6
# Above this the text repeats itself; the engine has tried higher temperatures before.
MAX_COMPRESSION_RATIO = 2.8
# The fastest speakers stay below 25 characters a second; a short window gets some allowance.
MAX_CHARACTERS_PER_S = 35.0
ALLOWED_CHARACTERS = 25
# Less voice than this is a click or a breath.
MIN_VOICED_MS = 60
# The slowest speakers stay above this many characters per second of voice; fewer mean that the model stopped early.
MIN_CHARACTERS_PER_S = 4.0
UNSPACED = 2.7  # characters that stand for one of an unspaced script
# Few speak slower than this; the words' times tell then whether some are missing: there is no pause as long as that.
SLOW_CHARACTERS_PER_S = 10.0
WORDLESS_S = 3.5
# Below this it cannot be told from a hesitation.
MIN_STOPPED_EARLY_MS = 4_000
# Where the detector heard little, the text must be probable.
DOUBTFUL_VOICED_SHARE = 0.25
DOUBTFUL_LOGPROB = -0.7


@dataclass(frozen=True, slots=True)
class Heard:
    """What voice activity says about the window."""

    voiced_ms: int
    window_ms: int


def plausible(result: DecodeResult, heard: Heard) -> bool:
    """Whether the text may be shown."""
    text = result.text.strip()
    if not text or heard.voiced_ms < MIN_VOICED_MS:
        return False
    if not any(character.isalnum() for character in text):
        return False
    logprob = result.avg_logprob
    if logprob < HOPELESS_LOGPROB or (
        logprob < IMPROBABLE_LOGPROB and result.no_speech_prob > NO_SPEECH_PROB
    ):
        return False
    if len(text) > ALLOWED_CHARACTERS + MAX_CHARACTERS_PER_S * heard.window_ms / 1000:
        return False
    if result.compression_ratio > MAX_COMPRESSION_RATIO and logprob < IMPROBABLE_LOGPROB / 2:
        return False
    share = heard.voiced_ms / max(heard.window_ms, 1)
    return share >= DOUBTFUL_VOICED_SHARE or logprob >= DOUBTFUL_LOGPROB


def stopped_early(result: DecodeResult, heard: Heard, least_ms: int = MIN_STOPPED_EARLY_MS) -> bool:
    """Whether the model wrote far less than was said: after a pause it may take the window for finished."""
    return heard.voiced_ms >= least_ms and _slower(result, heard, MIN_CHARACTERS_PER_S)


def slow(result: DecodeResult, heard: Heard) -> bool:
    """Whether somebody spoke slowly, or the model left something out."""
    return _slower(result, heard, SLOW_CHARACTERS_PER_S)


def longest_wordless_s(words: Sequence[DecodedWord], window_s: float) -> float:
    """The longest stretch of the window in which no word begins; times in seconds of the window.

    Ends do not count: what the model left out is aligned with the word before it.
    """
    begins = [0.0, *(word.start_s for word in words), window_s]
    return max(later - begin for begin, later in pairwise(begins))


def _slower(result: DecodeResult, heard: Heard, characters_per_s: float) -> bool:
    """Compares with the voice; a script without spaces says as much in fewer characters."""
    text = result.text.strip()
    if not (" " in text or text.isascii()):
        characters_per_s /= UNSPACED
    return len(text) < characters_per_s * heard.voiced_ms / 1000
