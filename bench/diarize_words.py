"""Speakers of recognised words, against reference turns."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from bench.der import Turn, read_rttm
from bench.stream_player import CHUNK_MS, RAW
from bench.worker import Worker
from common.audio import bytes_of_ms
from common.clients import AsrClient, check_health, open_channel
from common.codec import decode_file
from common.pb.voxmesh.asr import v1 as pb

SERVICE = "voxmesh.asr.v1.AsrService"
START_S = 300.0
MOST_SPEAKERS = 8


async def words_right(data: Path, rows: Sequence[dict[str, Any]], model: str) -> dict[str, Any]:
    """Share of words that are given to the right speaker, as a recording and as a live stream.

    A word counts where exactly one reference speaker talks in its middle; speakers are matched one to one per
    recording for the most words.
    """
    worker = Worker(model)
    try:
        channel = open_channel(worker.address)
        await _wait(channel, worker)
        client = AsrClient(channel)
        right, counted = Counter[str](), Counter[str]()
        for row in rows:
            reference = read_rttm(data / row["rttm"])
            pcm = b"".join(decode_file(data / row["file"]))
            for name, mode in (("words_right", pb.Mode.BATCH), ("words_right_live", pb.Mode.STREAMING)):
                pairs = _pairs(await _words(client, pcm, row["language"], mode), reference)
                counted[name] += sum(pairs.values())
                right[name] += _matched(pairs)
        await channel.close(None)
    finally:
        worker.stop()
    result: dict[str, Any] = {name: round(right[name] / max(counted[name], 1), 4) for name in counted}
    return {**result, "words": counted["words_right"]}


async def _wait(channel: Any, worker: Worker) -> None:
    async with asyncio.timeout(START_S):
        while not await check_health(channel, SERVICE):
            if worker.process.poll() is not None:
                raise RuntimeError("the recogniser did not start")
            await asyncio.sleep(0.3)


async def _words(client: AsrClient, pcm: bytes, language: str, mode: pb.Mode) -> list[pb.Word]:
    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(
            config=pb.RecognizeConfig(format=RAW, mode=mode, language=language, diarize=True)
        )
        step = 1 << 20 if mode is pb.Mode.BATCH else bytes_of_ms(CHUNK_MS)
        for at in range(0, len(pcm), step):
            yield pb.RecognizeRequest(audio=pcm[at : at + step])

    answers = [response.result async for response in client.recognize(feed()) if response.result is not None]
    return [word for answer in answers if answer.is_final for word in answer.words]


def _pairs(words: Sequence[pb.Word], reference: Sequence[Turn]) -> Counter[tuple[str, int]]:
    """How often each reference speaker and each label meet."""
    pairs = Counter[tuple[str, int]]()
    for word in words:
        middle_s = (word.start_ms + word.end_ms) / 2000
        talking = {turn.speaker for turn in reference if turn.start_s <= middle_s < turn.end_s}
        if len(talking) == 1:
            assert word.speaker is not None
            pairs[talking.pop(), word.speaker] += 1
    return pairs


def _matched(pairs: Counter[tuple[str, int]]) -> int:
    names = sorted({name for name, _ in pairs})
    labels = sorted({label for _, label in pairs})[:MOST_SPEAKERS]
    labels += [-1] * (len(names) - len(labels))
    return max(
        (
            sum(pairs[name, label] for name, label in zip(names, chosen, strict=True))
            for chosen in permutations(labels, len(names))
        ),
        default=0,
    )
