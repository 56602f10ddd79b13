"""Finding the language when nobody named it."""

import asyncio

from asr.live.tuning import Tuning
from asr.model import DecodeResult

# More voices make the vote safer and its end later; segments after these wait for it.
VOTERS = 4


class LanguageGuess:
    """The language of a live stream, from what the model detects in one growing window after the other."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._votes: dict[str, float] = {}
        self._before_ms = 0  # speech of closed windows

    def heard(self, result: DecodeResult, speech_ms: int) -> str:
        """The language once it is settled, else "". `speech_ms` is the length of the window's speech."""
        vote = result.language_probability * min(speech_ms, self._tuning.language_ms)
        self._votes[result.language] = self._votes.get(result.language, 0.0) + vote
        best = max(self._votes, key=lambda code: self._votes[code])
        total_ms = self._before_ms + speech_ms
        if best == result.language and result.language_probability >= self._tuning.language_sure:
            return best if speech_ms >= self._tuning.language_ms else ""
        return best if total_ms >= self._tuning.language_limit_ms else ""

    def closed(self, speech_ms: int) -> None:
        """A window of so much speech has ended."""
        self._before_ms += speech_ms


class LanguageVote:
    """The first segments of a recording vote. Weighs what the model detects in the first segments by how sure it was and how much was said."""

    def __init__(self, known: str = "", voters: int = VOTERS) -> None:
        self._voters, self._entered = voters, 0
        self._votes: dict[str, float] = {}
        self._cast = 0
        self._closed = False
        self._language: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if known:
            self._language.set_result(known)

    def enter(self) -> bool:
        """Whether the next segment votes."""
        if self._language.done() or self._entered == self._voters:
            return False
        self._entered += 1
        return True

    def cast(self, result: DecodeResult, voiced_ms: int) -> None:
        """The vote of a segment that entered."""
        self._cast += 1
        weight = result.language_probability * voiced_ms if result.text else 0.0
        self._votes[result.language] = self._votes.get(result.language, 0.0) + weight
        self._count()

    def no_more(self) -> None:
        """No further segment will enter."""
        self._closed = True
        self._count()

    async def language(self) -> str:
        """The outcome, once every voter has voted; "" when there was none."""
        return await asyncio.shield(self._language)

    def _count(self) -> None:
        complete = self._cast == self._entered and (self._closed or self._entered == self._voters)
        if complete and not self._language.done():
            self._language.set_result(max(self._votes, key=lambda code: self._votes[code], default=""))
