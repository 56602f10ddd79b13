"""`voxmesh bench asr`: our recogniser beside faster-whisper (and openai-whisper where installed).

Same weights, same threads, same clips, in alternating order; greedy for all unless --beam says otherwise, so that
the ratio compares engines and not search widths. Short clips run one at a time. The long recording is clips with
pauses between them: ours cuts it as the service does and decodes the segments at once, theirs is the batched
pipeline.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.engine.recogniser import WhisperRecogniser
    from bench.clips import Clip
    from bench.peers import Engine, Long

LONG_AT_ONCE = 16


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark with command line `argv`; returns the exit status."""
    args = _arguments().parse_args(argv)
    for name, value in {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}.items():
        os.environ.setdefault(name, value)  # OpenMP reads them when the first library loads it
    result: dict[str, Any] = {"model": args.random_weights or args.model, "device": args.device}
    result |= {"threads": args.threads, "beam": args.beam}
    result |= _random(args) if args.random_weights else _compare(args)
    print(json.dumps(result))
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voxmesh bench asr", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--model", default="whisper-base", help="catalogue name, source, or directory")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compute", default="auto", help="our compute type")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8, help="requests we decode side by side")
    parser.add_argument("--clips", type=int, default=12, help="short clips, 3 to 12 s")
    parser.add_argument("--runs", type=int, default=2, help="runs of each clip; the best counts")
    parser.add_argument("--beam", type=int, default=1, help="search width, for all engines")
    parser.add_argument(
        "--long", type=float, default=300.0, help="seconds of the long recording; 0 leaves it out"
    )
    parser.add_argument("--languages", default="en", help="comma list of the clips' languages, or all")
    parser.add_argument("--data", type=Path, help="directory with manifest.jsonl")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--random-weights", metavar="SIZE", help="measure a size without weights: large-v3-turbo, ..."
    )
    return parser


def _compare(args: argparse.Namespace) -> dict[str, Any]:
    from bench.clips import EVALDATA, load_clips, long_recording
    from bench.peers import faster_whisper, openai_whisper
    from bench.text import error_rate, normalise

    folder = fetch(args.model)
    data = args.data or EVALDATA
    clips = load_clips(data, args.languages.split(","), 3.0, 12.0, args.clips)
    recogniser = _load(folder, args)
    loop = asyncio.new_event_loop()
    engines: dict[str, Engine] = {"voxmesh": lambda clip: _one(loop, recogniser, clip, args.beam)}
    longs: dict[str, Long] = {
        "voxmesh": lambda pcm: loop.run_until_complete(_segments(recogniser, pcm, args.beam))
    }
    long = long_recording(load_clips(data, ["en"], 3.0, 12.0), args.long) if args.long else None
    _turn(engines, clips[:1])
    if long is not None:
        longs["voxmesh"](long.pcm[: 20 * 16_000])
    _turn(engines, clips)
    result: dict[str, Any] = {"clips": len(clips)}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform == "linux" else 1024**2
    )
    if not args.no_peers:
        if (peer := faster_whisper(folder, args.threads, args.device, args.beam)) is not None:
            engines["faster-whisper"], longs["faster-whisper"] = peer
        if (other := openai_whisper(folder, args.threads, args.device, args.beam)) is not None:
            engines["openai-whisper"] = other
        else:
            print(
                "openai-whisper is left out: `.venv/bin/pip install openai-whisper` adds it", file=sys.stderr
            )
    _turn(engines, clips[:1])
    times: dict[str, list[float]] = {name: [] for name in engines}
    texts: dict[str, list[str]] = {}
    for turn in range(args.runs):
        measured = _turn(engines, clips, reverse=turn % 2 == 1)
        for name, (seconds, heard) in measured.items():
            times[name].append(seconds)
            texts[name] = heard
    spoken_s = sum(clip.seconds for clip in clips)
    references = [normalise(clip.text, clip.language) for clip in clips]
    print(f"{len(clips)} clips, {spoken_s:.0f} s, one at a time; best of {args.runs} runs")
    print(f"{'engine':<16}{'seconds':>9}{'RTF':>9}{'WER':>9}")
    wers = {}
    for name, heard in texts.items():
        hypotheses = [normalise(text, clip.language) for text, clip in zip(heard, clips, strict=True)]
        wers[name] = error_rate(references, hypotheses)
        best = min(times[name])
        print(f"{name:<16}{best:>9.2f}{best / spoken_s:>9.4f}{wers[name]:>9.4f}")
    result |= {
        "rtf_short": min(times["voxmesh"]) / spoken_s,
        "wer": wers["voxmesh"],
        "peak_rss_mb": round(peak_mb),
    }
    if len({clip.language for clip in clips}) > 1:
        result["wer_by_language"] = _by_language(clips, texts)
    if "faster-whisper" in texts:
        result["short_speedup_vs_faster_whisper"] = min(times["faster-whisper"]) / min(times["voxmesh"])
        result["wer_faster_whisper"] = wers["faster-whisper"]
    if "openai-whisper" in texts:
        result["short_speedup_vs_openai_whisper"] = min(times["openai-whisper"]) / min(times["voxmesh"])
    if long is not None:
        result |= _long(longs, long, args.runs)
    recogniser.close()
    loop.close()
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}


def _turn(
    engines: "dict[str, Engine]", clips: "Sequence[Clip]", *, reverse: bool = False
) -> dict[str, tuple[float, list[str]]]:
    """Every engine on every clip, taking turns clip by clip -> seconds and texts of each engine."""
    seconds = dict.fromkeys(engines, 0.0)
    texts: dict[str, list[str]] = {name: [] for name in engines}
    for index, clip in enumerate(clips):
        order = list(engines)
        if (index % 2 == 1) != reverse:
            order.reverse()
        for name in order:
            begun = time.perf_counter()
            texts[name].append(engines[name](clip))
            seconds[name] += time.perf_counter() - begun
    return {name: (seconds[name], texts[name]) for name in engines}


def _by_language(clips: "Sequence[Clip]", texts: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    """Error rate of each engine in each language; of characters where words are not spaced."""
    from bench.text import error_rate, normalise

    print(f"\n{'language':<10}{'clips':>6}" + "".join(f"{name:>16}" for name in texts))
    result: dict[str, dict[str, float]] = {}
    for language in sorted({clip.language for clip in clips}):
        of = [index for index, clip in enumerate(clips) if clip.language == language]
        references = [normalise(clips[index].text, language) for index in of]
        result[language] = {
            name: round(error_rate(references, [normalise(heard[index], language) for index in of]), 4)
            for name, heard in texts.items()
        }
        print(f"{language:<10}{len(of):>6}" + "".join(f"{rate:>16.4f}" for rate in result[language].values()))
    return result


def _long(longs: "dict[str, Long]", long: "Clip", runs: int) -> dict[str, Any]:
    from bench.text import error_rate, normalise

    best: dict[str, float] = {}
    wers: dict[str, float] = {}
    for turn in range(runs):
        for name in list(longs)[:: -1 if turn % 2 else 1]:
            begun = time.perf_counter()
            text = longs[name](long.pcm)
            seconds = time.perf_counter() - begun
            best[name] = min(seconds, best.get(name, seconds))
            wers[name] = error_rate([normalise(long.text)], [normalise(text)])
    print(f"\none recording, {long.seconds:.0f} s")
    for name in longs:
        print(f"{name:<16}{best[name]:>9.2f}{best[name] / long.seconds:>9.4f}{wers[name]:>9.4f}")
    result: dict[str, Any] = {"rtf_long": best["voxmesh"] / long.seconds, "wer_long": wers["voxmesh"]}
    if "faster-whisper" in best:
        result["long_speedup_vs_faster_whisper_batched"] = best["faster-whisper"] / best["voxmesh"]
        result["wer_long_faster_whisper"] = wers["faster-whisper"]
    return result


def fetch(model: str) -> Path:
    """The directory of a model of the catalogue, or of a source; a directory is itself."""
    if Path(model).is_dir():
        return Path(model)
    from common.settings import ServiceSettings
    from common.weights import fetch

    return fetch(
        model, ServiceSettings.model_fields["model_cache_dir"].get_default(call_default_factory=True)
    )


def _load(folder: Path, args: argparse.Namespace) -> "WhisperRecogniser":
    from asr.engine.recogniser import load_recogniser

    return load_recogniser(
        folder,
        name="bench",
        device=args.device,
        threads=args.threads,
        slots=max(args.slots, args.beam),
        compute_type=args.compute,
    )


def _one(loop: asyncio.AbstractEventLoop, recogniser: "WhisperRecogniser", clip: "Clip", beam: int) -> str:
    from asr.model import DecodeRequest, Priority

    language = clip.language if clip.language in recogniser.languages else ""
    request = DecodeRequest(clip.pcm, language=language, priority=Priority.BATCH, beam_size=beam)
    return loop.run_until_complete(recogniser.decode(request)).text


async def _segments(recogniser: "WhisperRecogniser", pcm: Any, beam: int) -> str:
    """A long recording as the service does it: voice activity, segments, all decoded at once, joined."""
    from asr.model import DecodeRequest, Priority
    from asr.recording.segment import Segmenter
    from asr.voice.vad import CHUNK_SAMPLES, VadState
    from asr.voice.worker import VadWorker

    vad = VadWorker()
    try:
        whole = pcm[: len(pcm) // CHUNK_SAMPLES * CHUNK_SAMPLES]
        probabilities = await vad.probabilities(VadState(), whole)
    finally:
        vad.close()
    segmenter = Segmenter(0.5)
    segments = [*segmenter.push(whole, probabilities), *segmenter.finish(pcm[len(whole) :])]
    places = asyncio.Semaphore(LONG_AT_ONCE)

    async def decode(samples: Any) -> str:
        async with places:
            request = DecodeRequest(samples, language="en", priority=Priority.BATCH, beam_size=beam)
            return (await recogniser.decode(request)).text

    return " ".join(await asyncio.gather(*(decode(segment.pcm) for segment in segments)))


def _random(args: argparse.Namespace) -> dict[str, Any]:
    """Throughput of a size whose weights are not at hand: noise in, every window decoded to a fixed length."""
    import numpy as np
    import torch

    from asr.models.decoder import Segment
    from asr.models.dims import dims_of
    from asr.models.load import random_source
    from asr.models.quant import resolve_compute_type
    from asr.models.whisper import Whisper

    device = torch.device(args.device)
    source = random_source(dims_of(args.random_weights))
    model = Whisper(
        source.dims,
        source.weights,
        device=device,
        compute=resolve_compute_type(args.compute, device),
        slots=args.slots,
        threads=args.threads,
    )
    tokens, seconds = 60, 12.0
    pcm = np.random.default_rng(0).standard_normal(int(seconds * 16_000)).astype(np.float32) * 0.05
    best = float("inf")
    for _ in range(args.runs + 1):  # the first run warms up
        begun = time.perf_counter()
        for row, states in enumerate(model.encode([pcm] * args.slots)):
            model.hear(row, states)
        for _ in range(tokens):
            logits = model.forward([Segment(row, [1], [0]) for row in range(args.slots)])
        logits.sum().item()  # waits for the device
        best = min(best, time.perf_counter() - begun)
    rtfx = args.slots * seconds / best
    print(
        f"{args.slots} windows of {seconds:.0f} s, {tokens} tokens each: {best:.3f} s, {rtfx:.0f} times real time"
    )
    return {"slots": args.slots, "rtfx": round(rtfx, 1)}
