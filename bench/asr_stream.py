"""`voxmesh bench asr-stream`: many live streams in real time. How soon do words come, and do they stay?"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench import stream_player as player
from bench.stream_player import Clip, Played
from bench.worker import Worker
from common.clients import AsrClient, check_health, open_channel

CLIPS = Path(__file__).resolve().parent.parent.parent / "shared" / "evaldata" / "dev"
START_S = 300.0


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark; the last line of its output is one JSON object."""
    parser = argparse.ArgumentParser("voxmesh bench asr-stream", description=__doc__)
    parser.add_argument("--model", default="base", help="name in the catalogue, or a MODEL_URL")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="least audio per stream")
    parser.add_argument("--address", default="", help="a running recogniser; default: one is started")
    parser.add_argument("--threads", type=int, default=0, help="of the recogniser that is started")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--endpointing-ms", type=int, default=600)
    parser.add_argument("--language", default="en")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="directory with manifest.jsonl")
    parser.add_argument("--max-clips", type=int, default=60)
    parser.add_argument("--transcripts", type=Path, help="file for what was heard, one JSON object a clip")
    options = parser.parse_args(argv)
    try:
        report = asyncio.run(_measure(options))
    except (OSError, RuntimeError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    _print(report)
    return 0


async def _measure(options: argparse.Namespace) -> dict[str, object]:
    clips = load_clips(options.clips, options.language, options.max_clips)
    worker = None if options.address else Worker(options.model, options.threads, options.device)
    try:
        address = options.address or (worker.address if worker else "")
        channel = open_channel(address)
        await wait_until_ready(channel, worker)
        client = AsrClient(channel)
        for clip in clips:
            await player.batch(client, clip, "")
        process = worker.process if worker else None
        used, begun = _cpu_s(process), time.perf_counter()
        plays = await asyncio.gather(
            *(
                player.play(
                    client, playlist(clips, n * len(clips) // options.streams, options.seconds), model="",
                    endpointing_ms=options.endpointing_ms, delay_s=n * 0.37 % 3,
                )
                for n in range(options.streams)
            )
        )  # fmt: skip
        cores = (_cpu_s(process) - used) / (time.perf_counter() - begun)
        await channel.close(None)
    finally:
        if worker:
            worker.stop()
    played = [p for stream in plays for p in stream]
    if options.transcripts:
        options.transcripts.write_text("".join(_line(p) for p in played), encoding="utf-8")
    return summarise(played, options, cores)


def load_clips(directory: Path, language: str, most: int) -> list[Clip]:
    """Recordings of one speaker and 3 to 20 s from a manifest. Raises RuntimeError when there are none."""
    manifest = directory / "manifest.jsonl"
    if not manifest.is_file():
        raise RuntimeError(f"no recordings: {manifest} does not exist; name a directory with --clips")
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    # A clip that the weights themselves cannot read says nothing about streaming.
    chosen = [
        entry for entry in entries
        if entry["language"] == language and entry["channels"] == 1 and entry["speakers"] == 1
        and entry.get("text") and not entry.get("hard") and 3 <= entry["seconds"] <= 20
        and (entry.get("whisper_base_wer") or 0) <= 0.3
    ][:: max(1, len(entries) // (4 * most))][:most]  # fmt: skip
    if not chosen:
        raise RuntimeError(f"no suitable recordings in {manifest}")
    return [
        player.read_clip(directory / entry["file"], language=language, reference=entry["text"])
        for entry in chosen
    ]


def summarise(plays: list[Played], options: argparse.Namespace, cores: float) -> dict[str, object]:
    """Every figure of the report; times in ms. Both error rates count a clip as often as it was played."""
    first = [value for p in plays if (value := player.first_interim_ms(p)) is not None]
    last = [(p, v) for p in plays if (v := player.final_ms(p, options.endpointing_ms)) is not None]
    commits = [value for p in plays for value in player.commit_ms(p)]
    changed, shown = map(sum, zip(*(player.unstable_words(p) for p in plays), strict=True))
    growth, error = lag_growth([(p.clip.name, p.begin_ms / 60_000, v) for p, v in last])
    return {
        "model": options.model,
        "streams": options.streams,
        "clips_played": len(plays),
        "first_interim_ms_p50": _percentile(first, 50),
        "first_interim_ms_p95": _percentile(first, 95),
        "commit_ms_p50": _percentile(commits, 50),
        "commit_ms_p95": _percentile(commits, 95),
        "final_ms_p50": _percentile([v for _, v in last], 50),
        "final_ms_p95": _percentile([v for _, v in last], 95),
        "wer_stream": _wer([(p.clip.reference, player.final_text(p)) for p in plays], options.language),
        "wer_batch": _wer([(p.clip.reference, p.clip.batch_text) for p in plays], options.language),
        "lag_growth_ms_per_min": growth,
        "lag_growth_error": error,
        "unstable_word_ratio": round(changed / shown, 3),
        "cpu_cores": round(cores, 2),
    }


def _line(played: Played) -> str:
    finals = [result for _, result in played.answers if result.is_final]
    return (
        json.dumps(
            {
                "clip": played.clip.name,
                "reference": played.clip.reference,
                "batch": played.clip.batch_text,
                "finals": [[result.start_ms - played.begin_ms, result.text] for result in finals],
            },
            ensure_ascii=False,
        )
        + "\n"
    )


def playlist(clips: list[Clip], first: int, seconds: float) -> list[Clip]:
    """Clips for one stream, from number `first` on and round, until they fill the time."""
    result: list[Clip] = []
    ms, n = 0, first
    while ms < seconds * 1000:
        result.append(clips[n % len(clips)])
        ms += result[-1].ms + player.GAP_MS
        n += 1
    return result


async def wait_until_ready(channel: object, worker: Worker | None) -> None:
    """Raises RuntimeError when the recogniser ends first, or takes too long."""
    deadline = time.monotonic() + START_S
    while not await check_health(channel, "voxmesh.asr.v1.AsrService"):  # type: ignore[arg-type]
        if time.monotonic() > deadline or (worker and worker.process.poll() is not None):
            raise RuntimeError("the recogniser did not become ready")
        await asyncio.sleep(0.2)


def _wer(pairs: list[tuple[str, str]], language: str) -> float:
    import jiwer

    from bench.text import normalise

    references = [normalise(reference, language) for reference, _ in pairs]
    return round(float(jiwer.wer(references, [normalise(text, language) for _, text in pairs])), 4)


def _cpu_s(process: psutil.Popen | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def _percentile(values: list[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 1) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


def lag_growth(finals: list[tuple[str, float, float]]) -> tuple[float, float | None]:
    """How fast finals get later, in ms per minute, and the standard error of that.

    A clip has a lateness of its own, by where its batch transcript sees the last word end, and streams that play the
    same list meet the same clips early or late; so a play is compared with other plays of its clip alone.

    Args:
        finals: clip, minutes of the stream, lateness in ms.
    """
    plays: dict[str, list[tuple[float, float]]] = {}
    for clip, minutes, late_ms in finals:
        plays.setdefault(clip, []).append((minutes, late_ms))
    apart = [
        (minutes - statistics.fmean(x for x, _ in same), late_ms - statistics.fmean(y for _, y in same))
        for same in plays.values()
        for minutes, late_ms in same
    ]
    spread = sum(x * x for x, _ in apart)
    if not spread:
        return 0.0, None
    slope = sum(x * y for x, y in apart) / spread
    freedom = len(apart) - len(plays) - 1
    left = sum((y - slope * x) ** 2 for x, y in apart)
    return round(slope, 1), round((left / freedom / spread) ** 0.5, 1) if freedom > 0 else None


def _print(report: dict[str, object]) -> None:
    table = Table("figure", "value", title=f"{report['streams']} live streams, {report['model']}")
    for name, value in report.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(report), flush=True)
