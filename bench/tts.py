"""`voxmesh bench tts`: our voice beside piper-tts.

Same voice, same texts, same threads, taking turns sentence by sentence. Then several callers at once, then streams
that listen in real time. Then both voices are read back by our recogniser: the words it misses measure how clearly
they speak. Last, where `--requests` asks for it, the memory of a synthesis process over many requests.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.tts_peers import OurVoice, Spoken, Voice

SENTENCES = Path(__file__).with_name("tts_sentences.txt")
FIFTEEN_WORDS = (
    "The committee agreed that the new bridge would be finished before the summer of next year.",
    "Please hold the line while I look up your account, this should only take a moment.",
    "We will meet you at the station tomorrow morning and then drive to the coast together.",
    "She told me that the old library near the river had been closed for many years.",
    "If you need any more help with your order, just call us again at any time.",
    "The children ran across the wide green field to watch the balloons rise into the sky.",
)


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark with command line `argv`; returns the exit status."""
    args = _arguments().parse_args(argv)
    for name, value in {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}.items():
        os.environ.setdefault(name, value)  # OpenMP reads them when the first library loads it
    result = {"voice": args.voice, "device": args.device, "threads": args.threads}
    result |= asyncio.run(_all(args))
    rounded = {key: round(v, 4) if isinstance(v, float) else v for key, v in result.items()}
    print(json.dumps(rounded))
    return 0


def _arguments() -> argparse.ArgumentParser:
    about = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="voxmesh bench tts", description=about)
    parser.add_argument("--voice", default="en_US-joe-medium", help="catalogue name, source, or directory")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="runs over the fifteen-word sentences")
    parser.add_argument("--callers", default="1,4,8", help="callers at once, for throughput")
    parser.add_argument("--streams", type=int, default=4, help="streams that listen in real time")
    parser.add_argument("--stream-seconds", type=float, default=20.0, help="how long; 0 leaves them out")
    parser.add_argument("--roundtrip", type=int, default=100, help="sentences to read back; 0 leaves it out")
    parser.add_argument("--requests", type=int, default=0, help="to a process whose memory is watched")
    parser.add_argument("--recogniser", default="whisper-base", help="model that reads back")
    parser.add_argument("--no-peers", action="store_true")
    return parser


async def _all(args: argparse.Namespace) -> dict[str, Any]:
    from bench.tts_peers import OurVoice, piper
    from common.memory import keep_buffers
    from tts.engine import TtsEngine
    from tts.models.load import load_voice

    keep_buffers()
    folder = _fetch(args.voice)
    model = folder if folder.is_file() else next(folder.rglob("*.onnx"))
    engine = TtsEngine([load_voice(model, device=args.device, threads=args.threads)])
    await engine.start()
    ours = OurVoice(engine)
    peer = None if args.no_peers else piper(model, args.threads)
    result = await _turns(ours, peer, args.runs)
    for callers in [int(count) for count in args.callers.split(",") if count]:
        result |= await _callers(ours, peer, callers)
    if args.stream_seconds:
        result |= await _streams(ours, args.streams, args.stream_seconds)
    if args.roundtrip:
        result |= await _roundtrip(ours, peer, args)
    await engine.close()
    if args.requests:
        from bench.tts_memory import measure

        texts = SENTENCES.read_text("utf-8").splitlines()
        result |= await measure(args.voice, texts, args.requests, args.threads)
    return result


async def _turns(ours: "OurVoice", peer: "Voice | None", runs: int) -> dict[str, Any]:
    """One caller; each sentence by both voices, in turns, the first run for warming up."""
    mine: list[Spoken] = []
    theirs: list[Spoken] = []
    for turn in range(runs + 1):
        for index, text in enumerate(FIFTEEN_WORDS):
            heard, said = None, None
            if peer is not None and (index + turn) % 2:
                said = await asyncio.to_thread(peer, text)
            heard = await ours.speak(text)
            if peer is not None and said is None:
                said = await asyncio.to_thread(peer, text)
            if turn:
                mine.append(heard)
                theirs += [] if said is None else [said]
    print(f"one caller, {len(FIFTEEN_WORDS)} sentences of 15 to 17 words, {runs} runs")
    print(f"{'voice':<12}{'first p50':>11}{'first p95':>11}{'sentence p50':>14}{'RTF':>8}")
    for name, spoken in (("voxmesh", mine), ("piper-tts", theirs)):
        if spoken:
            first = [s.first_s for s in spoken]
            full = median(s.full_s for s in spoken)
            row = f"{median(first) * 1e3:>9.1f}ms{_p95(first) * 1e3:>9.1f}ms{full * 1e3:>12.1f}ms"
            print(f"{name:<12}{row}{_rtf(spoken):>8.4f}")
    first_s = [spoken.first_s for spoken in mine]
    result: dict[str, Any] = {
        "first_audio_ms_p50": median(first_s) * 1e3,
        "first_audio_ms_p95": _p95(first_s) * 1e3,
        "sentence_ms_p50": median(spoken.full_s for spoken in mine) * 1e3,
        "rtf": _rtf(mine),
    }
    if theirs:
        sentence_s = median(spoken.full_s for spoken in theirs)
        result |= {
            "speedup_vs_piper": _rtf(theirs) / _rtf(mine),
            "first_audio_ratio_vs_piper_sentence": median(first_s) / sentence_s,
            "piper_sentence_ms_p50": sentence_s * 1e3,
            "rtf_piper": _rtf(theirs),
        }
    return result


def _rtf(spoken: "Sequence[Spoken]") -> float:
    """Median of model time over sound time."""
    return median(one.full_s / one.seconds for one in spoken)


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


async def _callers(ours: "OurVoice", peer: "Voice | None", callers: int) -> dict[str, Any]:
    """Sound made a second with so many callers, each reading all sentences."""

    async def reads() -> "list[Spoken]":
        return [await ours.speak(text) for text in FIFTEEN_WORDS]

    def reads_peer(voice: "Voice") -> float:
        return sum(voice(text).seconds for text in FIFTEEN_WORDS)

    began = time.perf_counter()
    spoken = [one for caller in await asyncio.gather(*(reads() for _ in range(callers))) for one in caller]
    rate = sum(one.seconds for one in spoken) / (time.perf_counter() - began)
    result = {f"audio_seconds_per_second_{callers}_callers": rate}
    line = f"{callers} callers: {rate:.1f} s of sound a second, first {median(s.first_s for s in spoken) * 1e3:.0f} ms"
    if peer is not None:
        with ThreadPoolExecutor(callers) as pool:
            began = time.perf_counter()
            loop = asyncio.get_running_loop()
            made = await asyncio.gather(
                *(loop.run_in_executor(pool, reads_peer, peer) for _ in range(callers))
            )
            theirs = sum(made) / (time.perf_counter() - began)
        result[f"speedup_vs_piper_{callers}_callers"] = rate / theirs
        line += f"; piper-tts {theirs:.1f}"
    print(line)
    return result


async def _streams(ours: "OurVoice", streams: int, seconds: float) -> dict[str, Any]:
    """Listeners who start a sentence when the last has been heard to its end."""
    texts = SENTENCES.read_text("utf-8").splitlines()
    ends = time.perf_counter() + seconds

    async def listener(number: int) -> "list[Spoken]":
        await asyncio.sleep(number * 0.37)
        heard = []
        for text in texts[number::streams]:
            if time.perf_counter() >= ends:
                break
            began = time.perf_counter()
            heard.append(await ours.speak(text))
            await asyncio.sleep(max(0.0, began + heard[-1].first_s + heard[-1].seconds - time.perf_counter()))
        return heard

    spoken = [one for some in await asyncio.gather(*map(listener, range(streams))) for one in some]
    first_s = [one.first_s for one in spoken]
    underruns = sum(one.late_s > 0 for one in spoken)
    print(
        f"{streams} real-time streams: {len(spoken)} sentences, first p50 {median(first_s) * 1e3:.1f} ms,"
        f" p95 {_p95(first_s) * 1e3:.1f} ms, {underruns} underruns"
    )
    return {
        f"first_audio_ms_p95_{streams}_streams": _p95(first_s) * 1e3,
        f"underruns_{streams}_streams": underruns,
    }


async def _roundtrip(ours: "OurVoice", peer: "Voice | None", args: argparse.Namespace) -> dict[str, Any]:
    """Word error rate of what our recogniser hears, and how far its times of words are from the voice's own."""
    from asr.engine.recogniser import load_recogniser
    from bench.tts_listen import listen, time_errors, words_missed

    texts = SENTENCES.read_text("utf-8").splitlines()[: args.roundtrip]
    recogniser = load_recogniser(
        _fetch(args.recogniser), name="bench", device=args.device, threads=args.threads, slots=4
    )
    result: dict[str, Any] = {}
    for key, name in (("roundtrip_wer", "voxmesh"), ("roundtrip_wer_piper", "piper-tts")):
        if name == "piper-tts" and peer is None:
            continue
        spoken, heard = [], []
        for text in texts:
            spoken.append(
                await ours.speak(text) if name == "voxmesh" else await asyncio.to_thread(_must(peer), text)
            )
            heard.append(await listen(recogniser, spoken[-1]))
        result[key] = words_missed(texts, heard)
        print(f"{name}: word error rate {result[key]:.4f} over {len(texts)} sentences")
        if name == "voxmesh" and (times := time_errors(spoken, heard)):
            result |= times
            print(
                f"{name}: words start {times['word_time_error_ms_p50']:.0f} ms from where the recogniser hears them"
                f" (median of {times['word_times_compared']}; {times['word_time_bias_ms']:+.0f} ms with its sign)"
            )
    recogniser.close()
    return result


def _must(peer: "Voice | None") -> "Voice":
    assert peer is not None
    return peer


def _fetch(name: str) -> Path:
    if Path(name).exists():
        return Path(name)
    from common.settings import ServiceSettings
    from common.weights import fetch

    return fetch(name, ServiceSettings.model_fields["model_cache_dir"].get_default(call_default_factory=True))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
