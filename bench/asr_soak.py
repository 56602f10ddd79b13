"""`voxmesh bench asr-soak`: what a recogniser does in the long run: memory, silence, noise, hours of speech.

The parts are chosen with options; each is one more column of the result. Memory is that of the recogniser's process.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from bench.asr_stream import CLIPS, load_clips, wait_until_ready
from bench.stream_player import GAP_MS, RAW, Clip, play
from bench.worker import Worker
from common.audio import bytes_of_ms, ms_of_bytes
from common.clients import AsrClient, open_channel
from common.pb.voxmesh.asr import v1 as pb

RATE = 16_000
SEED = 0


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark; the last line of its output is one JSON object."""
    parser = argparse.ArgumentParser(
        "voxmesh bench asr-soak", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--model", default="tiny.en", help="name in the catalogue, or a MODEL_URL")
    parser.add_argument("--threads", type=int, default=0, help="of the recogniser")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--requests", type=int, default=0, help="short recordings, two at a time")
    parser.add_argument(
        "--silence-minutes", type=float, default=0.0, help="of zeros, live and as a recording"
    )
    parser.add_argument(
        "--noise-seconds", type=float, default=0.0, help="of each kind of noise, tone and music"
    )
    parser.add_argument("--hours", type=float, default=0.0, help="length of one recording of speech")
    parser.add_argument("--live-minutes", type=float, default=0.0, help="two live streams in real time")
    parser.add_argument("--clips", type=Path, default=CLIPS, help="directory with manifest.jsonl")
    options = parser.parse_args(argv)
    try:
        report = asyncio.run(_measure(options))
    except (OSError, RuntimeError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    for name, value in report.items():
        print(f"{name:<28}{value}")
    print(json.dumps(report), flush=True)
    return 0


async def _measure(options: argparse.Namespace) -> dict[str, object]:
    clips = load_clips(options.clips, "en", 15)
    worker = Worker(options.model, options.threads, options.device)
    report: dict[str, object] = {"model": options.model}
    try:
        channel = open_channel(worker.address)
        await wait_until_ready(channel, worker)
        client, process = AsrClient(channel), psutil.Process(worker.process.pid)
        for clip in clips[:4]:
            await _recognise(client, [clip.pcm])
        report["rss_mb_before"] = _rss_mb(process)
        if options.requests:
            report |= await _short(client, process, clips, options.requests)
        if options.silence_minutes:
            report |= await _silence(client, options.silence_minutes)
        if options.noise_seconds:
            report |= await _noise(client, options.noise_seconds)
        if options.hours:
            report |= await _long(client, process, clips, options.hours)
        if options.live_minutes:
            report |= await _live(client, clips, options.live_minutes)
        report["rss_mb_after"] = _rss_mb(process)
        await channel.close(None)
    finally:
        worker.stop()
    return report


async def _short(
    client: AsrClient, process: psutil.Process, clips: list[Clip], count: int
) -> dict[str, object]:
    """Growth counts from the first tenth on: until then caches fill."""
    sizes: list[int] = []
    begun = time.perf_counter()
    for n in range(0, count, 2):
        await asyncio.gather(*(_recognise(client, [clips[k % len(clips)].pcm]) for k in (n, n + 1)))
        sizes.append(_rss_mb(process))
    warm = sizes[len(sizes) // 10 :]
    return {
        "requests": count,
        "requests_per_s": round(count / (time.perf_counter() - begun), 2),
        "requests_rss_growth_mb": warm[-1] - warm[0],
        "requests_rss_peak_mb": max(sizes),
    }


async def _silence(client: AsrClient, minutes: float) -> dict[str, object]:
    zeros = [bytes(RATE * 2 * 60)] * max(round(minutes), 1)
    result: dict[str, object] = {"silence_minutes": len(zeros)}
    for mode in (pb.Mode.BATCH, pb.Mode.STREAMING):
        begun = time.perf_counter()
        text = await _recognise(client, zeros, mode)
        name = (mode.name or "").lower()
        result |= {f"silence_{name}_text": text, f"silence_{name}_s": round(time.perf_counter() - begun, 2)}
    return result


async def _noise(client: AsrClient, seconds: float) -> dict[str, object]:
    heard = {}
    for name, pcm in noises(seconds):
        for mode in (pb.Mode.BATCH, pb.Mode.STREAMING):
            if text := await _recognise(client, [pcm], mode):
                heard[f"{name}, {(mode.name or '').lower()}"] = text
    return {"noise_texts": heard}


def noises(seconds: float) -> Iterator[tuple[str, bytes]]:
    """Sounds without speech: name and mesh PCM."""
    t = np.arange(int(seconds * RATE)) / RATE
    random = np.random.default_rng(SEED)
    white = random.standard_normal(len(t))
    beep = (
        (t % 4 < 1) * (np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)) / 2
    )  # a telephone that rings
    scale = 220 * 2 ** (np.array([0, 4, 7, 12, 9, 5, 4, 2]) / 12)
    phase = 2 * np.pi * np.cumsum(scale[(t * 2).astype(int) % len(scale)]) / RATE
    tune = sum(np.sin(phase * k) / k for k in (1, 2, 3)) * np.exp(-3 * (t * 2 % 1))
    hum = np.sin(2 * np.pi * 50 * t) + 0.3 * np.sin(2 * np.pi * 150 * t)
    sounds = {
        "white noise": 0.1 * white,
        "rumble": 0.02 * np.cumsum(white - white.mean()) / 10,
        "ringing": 0.3 * beep,
    }
    sounds |= {"music": 0.2 * tune, "mains hum": 0.2 * hum, "loud noise": 0.7 * white}
    for name, sound in sounds.items():
        yield name, (sound.clip(-1, 1) * 32_767).astype("<i2").tobytes()


async def _long(
    client: AsrClient, process: psutil.Process, clips: list[Clip], hours: float
) -> dict[str, object]:
    """Clips with pauses between them, over and over; sent as fast as the recogniser takes it."""
    total, sent = int(hours * 3600 * RATE * 2), 0
    peak = _rss_mb(process)

    async def audio() -> AsyncIterator[bytes]:
        nonlocal sent, peak
        while sent < total:
            for clip in clips:
                part = clip.pcm[: len(clip.pcm) // 2 * 2] + bytes(bytes_of_ms(GAP_MS))
                sent += len(part)
                peak = max(peak, _rss_mb(process))
                yield part

    begun = time.perf_counter()
    text = await _recognise(client, audio())
    taken = time.perf_counter() - begun
    return {
        "long_hours": round(ms_of_bytes(sent) / 3_600_000, 2),
        "long_rtf": round(taken * 1000 / ms_of_bytes(sent), 4),
        "long_words": len(text.split()),
        "long_rss_peak_mb": peak,
    }


async def _live(client: AsrClient, clips: list[Clip], minutes: float) -> dict[str, object]:
    """How much later finals come at the end than at the beginning."""
    playlists: list[list[Clip]] = [[], []]
    for n, playlist in enumerate(playlists):
        while sum(clip.ms + GAP_MS for clip in playlist) < minutes * 60_000:
            playlist.append(clips[(len(playlist) + 7 * n) % len(clips)])
    plays = await asyncio.gather(
        *(
            play(client, playlist, model="", endpointing_ms=600, delay_s=0.7 * n)
            for n, playlist in enumerate(playlists)
        )
    )
    late = [
        (played.begin_ms, finals[-1] - played.begin_ms - played.clip.ms)
        for played in (one for stream in plays for one in stream)
        if (finals := [at for at, result in played.answers if result.is_final])
    ]
    half = max(begin for begin, _ in late) / 2
    early, later = ([v for begin, v in late if (begin > half) is side] for side in (False, True))
    growth = sorted(later)[len(later) // 2] - sorted(early)[len(early) // 2]
    return {"live_minutes": minutes, "live_lag_growth_ms": round(growth), "live_finals": len(late)}


async def _recognise(
    client: AsrClient, parts: "Sequence[bytes] | AsyncIterator[bytes]", mode: pb.Mode = pb.Mode.BATCH
) -> str:
    async def feed() -> AsyncIterator[pb.RecognizeRequest]:
        yield pb.RecognizeRequest(config=pb.RecognizeConfig(format=RAW, mode=mode, language="en"))
        if isinstance(parts, Sequence):
            for part in parts:
                for i in range(0, len(part), 1 << 20):
                    yield pb.RecognizeRequest(audio=part[i : i + (1 << 20)])
        else:
            async for part in parts:
                yield pb.RecognizeRequest(audio=part)

    said = []
    async for response in client.recognize(feed()):
        if response.result is not None and response.result.is_final:
            said.append(response.result.text)
    return " ".join(said)


def _rss_mb(process: psutil.Process) -> int:
    return int(process.memory_info().rss) >> 20
