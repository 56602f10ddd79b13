"""`voxmesh bench langid`: is the language of a recording recognised when nobody says which it is?"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from bench.clips import EVALDATA
from bench.stream_player import RAW
from bench.worker import Worker
from common.clients import AsrClient, check_health, open_channel
from common.codec import decode_file
from common.pb.voxmesh.asr import v1 as pb

SERVICE = "voxmesh.asr.v1.AsrService"
START_S = 300.0
AT_ONCE = 4
# Less speech than this is little to go by, for people too.
SHORT_S = 3.0
LONGEST_S = 60.0


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark with command line `argv`; returns the exit status."""
    parser = argparse.ArgumentParser("voxmesh bench langid", description=__doc__)
    parser.add_argument("--data", type=Path, default=EVALDATA, help="directory with manifest.jsonl")
    parser.add_argument("--model", default="base", help="a multilingual checkpoint")
    options = parser.parse_args(argv)
    manifest = options.data / "manifest.jsonl"
    if not manifest.is_file():
        print(f"✗ no manifest.jsonl in {options.data}", file=sys.stderr)
        return 1
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["language"] != "none" and row["seconds"] <= LONGEST_S]
    heard = asyncio.run(_hear(rows, options))
    print(json.dumps(_report(rows, heard, options.model)))
    return 0


async def _hear(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[str]:
    """The language of the first final of each recording; empty where there is none."""
    worker = Worker(options.model)
    try:
        channel = open_channel(worker.address)
        async with asyncio.timeout(START_S):
            while not await check_health(channel, SERVICE):
                if worker.process.poll() is not None:
                    raise RuntimeError("the recogniser did not start")
                await asyncio.sleep(0.3)
        client, gate = AsrClient(channel), asyncio.Semaphore(AT_ONCE)

        async def one(row: dict[str, Any]) -> str:
            async with gate:
                return await _language(client, options.data / row["file"])

        languages = await asyncio.gather(*map(one, rows))
        await channel.close(None)
        return languages
    finally:
        worker.stop()


async def _language(client: AsrClient, path: Path) -> str:
    pcm = await asyncio.to_thread(lambda: b"".join(decode_file(path)))

    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(config=pb.RecognizeConfig(format=RAW, mode=pb.Mode.BATCH))
        for at in range(0, len(pcm), 1 << 20):
            yield pb.RecognizeRequest(audio=pcm[at : at + (1 << 20)])

    first = ""
    async for answer in client.recognize(feed()):
        if answer.result is not None and answer.result.is_final:
            first = first or answer.result.language
    return first


def _report(rows: Sequence[dict[str, Any]], heard: Sequence[str], model: str) -> dict[str, Any]:
    total, right, wrong = Counter[str](), Counter[str](), Counter[str]()
    for row, language in zip(rows, heard, strict=True):
        total[row["language"]] += 1
        right[row["language"]] += language == row["language"]
        if language != row["language"]:
            wrong[f"{row['language']}>{language or 'nothing'}"] += 1
            print(
                f"{row['id']:<40}{row['seconds']:>7.1f} s  {row['language']} heard as {language or 'nothing'}"
            )
    for code, count in total.most_common():
        print(f"{code:<4}{right[code]:>5} of {count}")
    long = [
        language == row["language"]
        for row, language in zip(rows, heard, strict=True)
        if row["seconds"] >= SHORT_S
    ]
    other = [
        language == row["language"]
        for row, language in zip(rows, heard, strict=True)
        if row["language"] != "en"
    ]
    return {
        "model": model,
        "clips": len(rows),
        "accuracy": round(sum(right.values()) / max(len(rows), 1), 4),
        "accuracy_3s_and_more": round(sum(long) / max(len(long), 1), 4),
        "accuracy_not_english": round(sum(other) / max(len(other), 1), 4),
        "accuracy_by_language": {code: round(right[code] / count, 3) for code, count in total.items()},
        "confusions": dict(wrong.most_common()),
    }
