"""espeak-ng in this process: words to IPA. The one module that touches it and phonemizer (both GPL-3)."""

import re
from functools import cache, lru_cache
from threading import Lock

import espeakng_loader
from phonemizer.backend.espeak.wrapper import EspeakWrapper

CACHED_PHRASES = 8_192
_LANGUAGE_FLAG = re.compile(r"\([a-z-]{2,12}\)")  # "(en)" before and "(fr)" after a word of another language

_lock = Lock()


@lru_cache(maxsize=CACHED_PHRASES)
def ipa(text: str, voice: str) -> str:
    """IPA of words without punctuation, words separated by single spaces.

    Args:
        text: words; numbers are read by the rules of the language.
        voice: espeak-ng's name of the language, such as "en-us".

    Raises:
        ValueError: espeak-ng has no such voice.
    """
    wrapper = _wrapper(voice)
    with _lock:  # espeak-ng keeps its state in globals
        raw = wrapper.text_to_phonemes(text)
    return " ".join(_LANGUAGE_FLAG.sub(" ", raw.replace("_", "")).split())


@cache
def _wrapper(voice: str) -> EspeakWrapper:
    """A library instance for each language: changing the voice of one costs milliseconds."""
    with _lock:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        wrapper = EspeakWrapper()
        try:
            wrapper.set_voice(voice)
        except RuntimeError:
            raise ValueError(f"espeak-ng has no voice {voice}") from None
        return wrapper
