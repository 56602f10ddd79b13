"""Plays recordings to a recogniser in real time and notes when its answers come."""

import asyncio
import difflib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from common.audio import bytes_of_ms, ms_of_bytes
from common.clients import AsrClient
from common.codec import decode_file
from common.pb.voxmesh.asr import v1 as pb
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

RAW = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=16_000, channels=1)
CHUNK_MS = 100
GAP_MS = 1_500  # silence after each clip: longer than the endpointing


@dataclass(slots=True)
class Clip:
    """A recording with what is known of it. `words` are (text, start_ms, end_ms) of the batch result."""

    name: str
    pcm: bytes
    language: str
    reference: str
    batch_text: str = ""
    words: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def ms(self) -> int:
        return ms_of_bytes(len(self.pcm))


@dataclass(slots=True)
class Played:
    """One clip in one stream: where it began on the stream's clock and what was answered while it was on."""

    clip: Clip
    begin_ms: int
    answers: list[tuple[float, pb.Result]] = field(
        default_factory=list
    )  # arrival in ms of the stream's clock


def read_clip(path: Path, *, language: str, reference: str) -> Clip:
    """Decodes a recording to mesh PCM."""
    return Clip(path.stem, b"".join(decode_file(path)), language, reference)


async def batch(client: AsrClient, clip: Clip, model: str) -> None:
    """Recognises the clip as a whole; fills in `batch_text` and `words`."""

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(
            config=pb.RecognizeConfig(
                format=RAW, mode=pb.Mode.BATCH, language=clip.language, word_times=True, model=model
            )
        )
        for i in range(0, len(clip.pcm), 1 << 20):
            yield pb.RecognizeRequest(audio=clip.pcm[i : i + (1 << 20)])

    async for response in client.recognize(feed()):
        if response.result is not None and response.result.is_final:
            clip.batch_text = f"{clip.batch_text} {response.result.text}".strip()
            clip.words += [(word.text, word.start_ms, word.end_ms) for word in response.result.words]


async def play(
    client: AsrClient, clips: list[Clip], *, model: str, endpointing_ms: int, delay_s: float
) -> list[Played]:
    """One live stream: the clips one after the other, each followed by silence."""
    await asyncio.sleep(delay_s)
    plan, audio, at_ms = [], bytearray(), 0
    for clip in clips:
        plan.append(Played(clip, at_ms))
        audio += clip.pcm + bytes(bytes_of_ms(GAP_MS) + len(clip.pcm) % 2)
        at_ms = ms_of_bytes(len(audio))
    begun = time.perf_counter()

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(
            config=pb.RecognizeConfig(
                format=RAW, language=clips[0].language, interim_results=True, word_times=True, model=model,
                endpointing_ms=endpointing_ms,
            )
        )  # fmt: skip
        step = bytes_of_ms(CHUNK_MS)
        for i in range(0, len(audio), step):
            # A chunk leaves when its last sample has been spoken.
            due = begun + ms_of_bytes(i + step) / 1000
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            yield pb.RecognizeRequest(audio=bytes(audio[i : i + step]))

    async for response in client.recognize(feed()):
        result = response.result
        if result is not None and result.text:
            owner = max((p for p in plan if p.begin_ms <= result.start_ms + 300), key=lambda p: p.begin_ms)
            owner.answers.append(((time.perf_counter() - begun) * 1000, result))
    return plan


def first_interim_ms(played: Played) -> float | None:
    """From the end of the first word to the first text."""
    if not played.answers or not played.clip.words:
        return None
    return played.answers[0][0] - played.begin_ms - played.clip.words[0][2]


def final_ms(played: Played, endpointing_ms: int) -> float | None:
    """From the end of the last word and the wait for silence to the last final."""
    finals = [at for at, result in played.answers if result.is_final]
    if not finals or not played.clip.words:
        return None
    return finals[-1] - played.begin_ms - played.clip.words[-1][2] - endpointing_ms


def commit_ms(played: Played) -> list[float]:
    """Per word that both results have: from its end to the moment it was committed."""
    committed_at: list[float] = []  # by number of the word in the stream's text
    text: list[str] = []
    closed = 0
    for at, result in played.answers:
        words = result.text[: result.committed_chars].split()
        committed_at += [at] * (closed + len(words) - len(committed_at))
        if result.is_final:
            text += words
            closed = len(text)
            del committed_at[closed:]
    known = [_plain(word) for word, _, _ in played.clip.words]
    matcher = difflib.SequenceMatcher(None, [_plain(word) for word in text], known, autojunk=False)
    return [
        committed_at[block.a + k] - played.begin_ms - played.clip.words[block.b + k][2]
        for block in matcher.get_matching_blocks()
        for k in range(block.size)
        if block.a + k < len(committed_at)
    ]


def unstable_words(played: Played) -> tuple[int, int]:
    """Words of interims that the next answer took back, and words shown in all."""
    shown = changed = 0
    before: list[str] = []
    for _, result in played.answers:
        words = [_plain(word) for word in result.text.split()]
        changed += sum(one != other for one, other in zip(before, words, strict=False))
        changed += max(len(before) - len(words), 0)
        shown += max(len(words) - len(before), 0)
        before = [] if result.is_final else words
    return changed, max(shown, 1)


def final_text(played: Played) -> str:
    """What the stream said in the end."""
    return " ".join(result.text for _, result in played.answers if result.is_final)


def _plain(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())
