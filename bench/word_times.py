"""`voxmesh bench word-times`: how far the times of recognised words are from where the words are.

No recording at hand has word times made by hand, so the voice of this repository reads sentences: the sound is made
from the length of every phoneme, which says when each word begins and ends.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SENTENCES = Path(__file__).with_name("tts_sentences.txt")
TARGET_MS = 60

Word = tuple[str, float, float]  # text, begin and end in seconds


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark with command line `argv`; returns the exit status."""
    parser = argparse.ArgumentParser(
        "voxmesh bench word-times", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--model", default="whisper-base", help="catalogue name, source, or directory")
    parser.add_argument("--voice", default="en_US-joe-medium")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sentences", type=int, default=30)
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args(argv)
    for name, value in {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}.items():
        os.environ.setdefault(name, value)
    print(json.dumps(asyncio.run(_measure(args))))
    return 0


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from asr.engine.recogniser import load_recogniser
    from asr.model import DecodeRequest, Priority
    from bench.asr import fetch

    read = await _read_aloud(args)
    folder = fetch(args.model)
    recogniser = load_recogniser(folder, name="bench", device=args.device, threads=args.threads, slots=2)
    heard: dict[str, list[list[Word]]] = {"voxmesh": []}
    for pcm, _ in read:
        request = DecodeRequest(pcm, language="en", priority=Priority.BATCH, word_times=True)
        words = (await recogniser.decode(request)).words
        heard["voxmesh"].append([(word.text, word.start_s, word.end_s) for word in words])
    recogniser.close()
    peer = None if args.no_peers else _peer(folder, args)
    if peer is not None:
        heard["faster-whisper"] = [peer(pcm) for pcm, _ in read]
    result: dict[str, Any] = {"model": args.model, "sentences": len(read)}
    print(f"{'engine':<16}{'words':>7}{'begin ms p50':>14}{'p90':>7}{'end ms p50':>12}{'p90':>7}")
    for name, texts in heard.items():
        begins, ends = errors_ms([words for _, words in read], texts)
        figures = [median(begins), quantiles(begins, n=10)[8], median(ends), quantiles(ends, n=10)[8]]
        print(
            f"{name:<16}{len(begins):>7}{figures[0]:>14.0f}{figures[1]:>7.0f}{figures[2]:>12.0f}{figures[3]:>7.0f}"
        )
        suffix = "" if name == "voxmesh" else "_faster_whisper"
        keys = ("word_start_ms_p50", "word_start_ms_p90", "word_end_ms_p50", "word_end_ms_p90")
        result |= {key + suffix: round(value, 1) for key, value in zip(keys, figures, strict=True)}
        result["word_time_ms_p50" + suffix] = round(median(begins + ends), 1)
    result["target_ms"] = TARGET_MS
    return result


def errors_ms(
    references: Sequence[Sequence[Word]], heard: Sequence[Sequence[Word]]
) -> tuple[list[float], list[float]]:
    """Absolute errors of the begin and the end of every word that both have."""
    begins, ends = [], []
    for wanted, got in zip(references, heard, strict=True):
        matcher = SequenceMatcher(
            None, [_plain(w[0]) for w in wanted], [_plain(w[0]) for w in got], autojunk=False
        )
        for block in matcher.get_matching_blocks():
            for k in range(block.size):
                one, other = wanted[block.a + k], got[block.b + k]
                begins.append(abs(one[1] - other[1]) * 1000)
                ends.append(abs(one[2] - other[2]) * 1000)
    return begins, ends


async def _read_aloud(args: argparse.Namespace) -> "list[tuple[npt.NDArray[np.float32], list[Word]]]":
    """The sentences as sound at 16 kHz, and when each word is said."""
    import numpy as np

    from bench.asr import fetch
    from bench.tts_peers import OurVoice, Spoken
    from tts.engine import TtsEngine
    from tts.model import Clause
    from tts.models.load import load_voice

    folder = fetch(args.voice)
    model = folder if folder.is_file() else next(folder.rglob("*.onnx"))
    engine = TtsEngine([load_voice(model, device=args.device, threads=args.threads)])
    await engine.start()
    voice = OurVoice(engine)
    rate = voice.info.sample_rate_hz
    read = []
    for number, text in enumerate(SENTENCES.read_text("utf-8").splitlines()[: args.sentences]):
        parts: list[npt.NDArray[np.float32]] = [np.zeros(rate // 2, np.float32)]
        words: list[Word] = []
        for phonemes in voice.phonemes(text):
            begun_s = sum(map(len, parts)) / rate
            async for chunk in engine.speak(
                voice.info.name, Clause(phonemes.ids, phonemes.spans, seed=number)
            ):
                words += [(word.text, begun_s + word.start_s, begun_s + word.end_s) for word in chunk.words]
                parts.append(chunk.pcm)
        parts.append(np.zeros(rate // 2, np.float32))
        read.append((Spoken(np.concatenate(parts), rate, 0.0, 0.0).at_16_khz(), words))
    await engine.close()
    return read


def _peer(folder: Path, args: argparse.Namespace) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        return None
    kind, compute = ("cpu", "int8") if args.device == "cpu" else ("cuda", "float16")
    model = WhisperModel(str(folder), device=kind, compute_type=compute, cpu_threads=args.threads)

    def hear(pcm: Any) -> list[Word]:
        segments, _ = model.transcribe(pcm, language="en", beam_size=1, word_timestamps=True)
        return [(w.word, w.start, w.end) for segment in segments for w in segment.words or ()]

    return hear


def _plain(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())
