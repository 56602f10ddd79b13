"""Japanese: words and their readings by Open JTalk, sounds from the readings. The one module that touches it.

Open JTalk is an optional library (extra `japanese`). Without it kana can be read, and words in Latin letters; text with
kanji or numbers is refused, because espeak-ng cannot read it either.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any

from common.errors import InvalidArgument
from tts.text import kana
from tts.text.normalize import read_english
from tts.text.words import Token, Word

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f々〆]")
_LATIN = re.compile(r"([A-Za-z][A-Za-z'’.&-]*[A-Za-z]|[A-Za-z])")
_DEVOICED = "’"

_lock = Lock()


def is_japanese(text: str) -> bool:
    """Whether any kanji or kana is in it."""
    return _JAPANESE.search(text) is not None


def read_japanese(tokens: Sequence[Token]) -> list[Word]:
    """The words of a run of tokens. A run without any kanji or kana is read as English.

    Raises InvalidArgument for words that only the dictionary could read, where there is none.
    """
    if not any(is_japanese(token.core) for token in tokens):
        return read_english(tokens)
    words: list[Word] = []
    for token in tokens:
        inside = [word for piece in _LATIN.split(token.core) if piece for word in _read(piece)]
        if not inside:
            words.append(token.word(""))
            continue
        first = inside[0]
        inside[0] = Word(token.lead + first.written, first.spoken, first.ipa)
        last = inside[-1]
        inside[-1] = Word(last.written + token.tail, last.spoken, last.ipa, token.mark)
        words += inside
    return words


def _read(piece: str) -> Iterator[Word]:
    if _LATIN.fullmatch(piece):
        yield from read_english([Token(piece, "", piece, "")])
    elif kana.is_kana(piece) and analyser() is None:
        yield Word(piece, ipa=kana.ipa(piece))
    else:
        yield from _analysed(piece)


def _analysed(text: str) -> Iterator[Word]:
    """Words of a dictionary, each with the stretch of `text` it stands for.

    The analyser writes numbers out, so a word may not be found in the text: such words are gathered until one is.
    """
    analyse = analyser()
    if analyse is None:
        raise InvalidArgument(
            "Japanese with kanji or numbers cannot be read here: the extra 'japanese' is not installed"
        )
    plain = unicodedata.normalize("NFKC", text)
    if len(plain) != len(text):
        text = plain
    with _lock:
        found = analyse(text)
    position, waiting = 0, ""
    for word in found:
        surface = unicodedata.normalize("NFKC", word["string"])
        at = plain.find(surface, position)
        if at < 0 or at > position and not waiting:
            waiting += _reading(word)
            continue
        if at > position:
            yield Word(text[position:at], ipa=kana.ipa(waiting))
        elif waiting:  # sounds without a place of their own
            word = word | {"pron": waiting + _reading(word)}
        waiting, position = "", at + len(surface)
        yield Word(text[at:position], ipa=kana.ipa(_reading(word)))
    if waiting or position < len(text):
        yield Word(text[position:], ipa=kana.ipa(waiting))


def _reading(word: dict[str, Any]) -> str:
    return str(word["pron"]).replace(_DEVOICED, "")


@cache
def analyser() -> Callable[[str], list[dict[str, Any]]] | None:
    """Text to words with their readings, or None when the library is absent."""
    try:
        library = import_module("pyopenjtalk")
    except ImportError:
        return None
    analyse: Callable[[str], list[dict[str, Any]]] = library.run_frontend
    return analyse
