"""Edits of finals: some words in a row become something else, in the text and in the words alike."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.pb.voxmesh.asr.v1 import Result, Word

_TAIL = re.compile(r"[.,;:!?…。，？！\"”’)\]]+$")
_HEAD = re.compile(r"^[\"“‘(\[¿¡]+")


@dataclass(frozen=True, slots=True)
class Edit:
    """Tokens `first` up to `last` (without it) become `text`; empty text removes them."""

    first: int
    last: int
    text: str


def tokens_of(result: Result) -> list[str]:
    """The words of a result, with their punctuation."""
    return [word.text.strip() for word in result.words] if result.words else result.text.split()


def bare(token: str) -> str:
    """A token without the punctuation around it."""
    return _HEAD.sub("", _TAIL.sub("", token))


def tail(token: str) -> str:
    """The punctuation at the end of a token."""
    found = _TAIL.search(token)
    return found[0] if found else ""


def apart(edits: Sequence[Edit]) -> list[Edit]:
    """The edits in order, without those that overlap an earlier one; of two that begin together the longer stays."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda one: (one.first, -one.last)):
        if not kept or edit.first >= kept[-1].last:
            kept.append(edit)
    return kept


def apply(results: Sequence[Result], edits: Sequence[Edit]) -> list[Result]:
    """The results with `edits`, which count tokens over all of them.

    What spans two results is written in the first and taken out of the second. Vocabulary ids of a changed result
    would still spell the old text, so they go.
    """
    changed: list[Result] = []
    base = 0
    for result in results:
        tokens = tokens_of(result)
        end = base + len(tokens)
        local = [
            Edit(
                max(one.first, base) - base, min(one.last, end) - base, one.text if one.first >= base else ""
            )
            for one in apart(edits)
            if one.first < end and one.last > base
        ]
        changed.append(_edited(result, tokens, local) if local else result)
        base = end
    return changed


def _edited(result: Result, tokens: list[str], edits: list[Edit]) -> Result:
    new = copy.copy(result)
    new.tokens, new.committed_chars = [], 0
    new.text = _text(result.text, tokens, edits)
    words: list[Word] = []
    at = 0
    for edit in edits if result.words else ():
        words += result.words[at : edit.first]
        held = result.words[edit.first : edit.last]
        if edit.text:
            words.append(
                Word(
                    text=edit.text + tail(held[-1].text.strip()),
                    start_ms=held[0].start_ms,
                    end_ms=held[-1].end_ms,
                    confidence=sum(word.confidence for word in held) / len(held),
                    speaker=held[0].speaker,
                )
            )
        at = edit.last
    new.words = words + result.words[at:] if result.words else []
    return new


def _text(text: str, tokens: list[str], edits: list[Edit]) -> str:
    places = _places(text, tokens)
    if places is None:  # words that are not those of the text
        text, places = " ".join(tokens), _places(" ".join(tokens), tokens)
    assert places is not None
    for edit in reversed(edits):
        begin, end = places[edit.first][0], places[edit.last - 1][1]
        if edit.text:
            text = text[:begin] + edit.text + tail(tokens[edit.last - 1]) + text[end:]
        else:
            before, after = text[:begin].rstrip(), text[end:]
            text = before + after if before else after.lstrip()
    return text


def _places(text: str, tokens: list[str]) -> list[tuple[int, int]] | None:
    places, at = [], 0
    for token in tokens:
        begin = text.find(token, at)
        if begin < 0:
            return None
        at = begin + len(token)
        places.append((begin, at))
    return places
