"""Phrases: replaced, or found with how well they match."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from common.pb.voxmesh.asr.v1 import Word
from edge.finish.edits import Edit, bare
from edge.values import Json, seconds

MIN_LIKENESS = 0.75
MAX_HITS = 10


def replacements(tokens: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[Edit]:
    """Edits for phrases, whole words, case and punctuation apart."""
    said = [bare(token).casefold() for token in tokens]
    edits = []
    for phrase, written in pairs:
        wanted = [bare(part).casefold() for part in phrase.split()]
        for first in range(len(said) - len(wanted) + 1):
            if said[first : first + len(wanted)] == wanted:
                edits.append(Edit(first, first + len(wanted), written))
    return edits


def search(words: Sequence[Word], phrases: Sequence[str]) -> list[Json]:
    """Where each phrase was said, the best match first; the confidence is the likeness of the letters."""
    said = [bare(word.text).casefold() for word in words]
    found: list[Json] = []
    for phrase in phrases:
        wanted = " ".join(bare(part).casefold() for part in phrase.split())
        length = len(phrase.split())
        hits: list[Json] = []
        matcher = SequenceMatcher(None, b=wanted, autojunk=False)
        known: dict[str, float] = {}  # a long recording says the same words many times
        for first in range(len(said) - length + 1):
            window = " ".join(said[first : first + length])
            if (likeness := known.get(window, -1.0)) < 0:
                likeness = known[window] = _likeness(matcher, window)
            if likeness >= MIN_LIKENESS:
                held = words[first : first + length]
                hits.append(
                    {
                        "confidence": round(likeness, 4),
                        "start": seconds(held[0].start_ms),
                        "end": seconds(held[-1].end_ms),
                        "snippet": " ".join(word.text for word in held),
                    }
                )
        hits.sort(key=lambda hit: -float(hit["confidence"]))
        found.append({"query": phrase, "hits": hits[:MAX_HITS]})
    return found


def _likeness(matcher: "SequenceMatcher[str]", text: str) -> float:
    matcher.set_seq1(text)
    # Both are upper bounds, and much cheaper.
    if matcher.real_quick_ratio() < MIN_LIKENESS or matcher.quick_ratio() < MIN_LIKENESS:
        return 0.0
    return matcher.ratio()
