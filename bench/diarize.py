"""`voxmesh bench diarize`: who speaks when, against references.

Turns come from the recogniser's own parts (voice activity, windows, encoder, groups) without any text; words come
from a recogniser that is started for the purpose, as a recording and as a live stream. Recordings of one speaker
show how often one is taken for several.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.diarize.windows import Window
    from bench.der import Score, Turn

# A speaker's breath is not a change of turns: shorter gaps within one speaker are bridged before scoring.
BREATH_S = 0.5
SINGLE_S = 6.0


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark with command line `argv`; returns the exit status."""
    from bench.clips import EVALDATA

    parser = argparse.ArgumentParser(
        "voxmesh bench diarize", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--data", type=Path, default=EVALDATA, help="directory with manifest.jsonl and rttm/")
    parser.add_argument("--model", default="base", help="checkpoint that finds the words")
    parser.add_argument("--singles", type=int, default=0, help="recordings of one speaker; 0 is all")
    parser.add_argument("--no-words", action="store_true", help="turns only")
    options = parser.parse_args(argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy loads
    if not (options.data / "manifest.jsonl").is_file():
        print(f"✗ no manifest.jsonl in {options.data}", file=sys.stderr)
        return 1
    print(json.dumps(_measure(options)))
    return 0


@dataclass(slots=True)
class _Recording:
    row: dict[str, Any]
    seconds: float
    windows: "list[Window]"
    embeddings: Any  # [windows, d]


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    from bench.der import Score, read_rttm, score, speakers

    rows = [json.loads(line) for line in (options.data / "manifest.jsonl").read_text("utf-8").splitlines()]
    talks = [row for row in rows if row.get("rttm")]
    singles = [
        row
        for row in rows
        if row["speakers"] == 1 and row["channels"] == 1 and row["seconds"] >= SINGLE_S and row not in talks
    ]
    singles = singles[: options.singles or len(singles)]
    begun = time.perf_counter()
    recordings = list(_embed(options.data, talks))
    print(f"{'recording':<14}{'speakers':>9}{'found':>7}{'DER':>8}{'no overlap':>12}{'given':>8}{'live':>8}")
    totals = {name: Score() for name in ("der", "der_no_overlap", "der_given_number", "der_live")}
    right = right_live = 0
    for recording in recordings:
        row, seconds = recording.row, recording.seconds
        reference = read_rttm(options.data / row["rttm"])
        found, live = _turns(recording, 0), _live(recording)
        scores = {
            "der": score(reference, found, seconds),
            "der_no_overlap": score(reference, found, seconds, overlap=False),
            "der_given_number": score(reference, _turns(recording, row["speakers"]), seconds),
            "der_live": score(reference, live, seconds),
        }
        totals = {name: total + scores[name] for name, total in totals.items()}
        right += speakers(found) == row["speakers"]
        right_live += speakers(live) == row["speakers"]
        print(
            f"{row['id']:<14}{row['speakers']:>9}{speakers(found):>7}"
            + "".join(
                f"{part.der:>{width}.3f}" for part, width in zip(scores.values(), (8, 12, 8, 8), strict=True)
            )
        )
    split = split_live = 0
    for recording in _embed(options.data, singles):
        split += speakers(_turns(recording, 0)) > 1
        split_live += speakers(_live(recording)) > 1
    whole = totals["der"]
    result: dict[str, Any] = {
        **{name: round(total.der, 4) for name, total in totals.items()},
        "missed": _share(whole.missed, whole), "false": _share(whole.false, whole),
        "confused": _share(whole.confused, whole),
        "speakers_right": right, "speakers_right_live": right_live, "recordings": len(talks),
        "single_split": split, "single_split_live": split_live, "singles": len(singles),
        "seconds_of_work": round(time.perf_counter() - begun, 1),
    }  # fmt: skip
    print(f"one speaker taken for several: {split} of {len(singles)} recordings, live {split_live}")
    if not options.no_words:
        from bench.diarize_words import words_right

        result |= asyncio.run(words_right(options.data, talks, options.model))
        print(
            f"words with the right speaker: {result['words_right']:.3f}, live {result['words_right_live']:.3f}"
        )
    return result


def _embed(data: Path, rows: Sequence[dict[str, Any]]) -> Iterator[_Recording]:
    """Windows and embeddings of each recording, as the recogniser makes them."""
    from asr.diarize.windows import SpeechWindows
    from asr.diarize.worker import load_encoder
    from asr.voice.vad import CHUNK_SAMPLES, SileroVad, VadState
    from bench.clips import read
    from cli.paths import model_cache_dir

    encoder, network = load_encoder("speaker-ge2e", model_cache_dir()), SileroVad.load()
    for row in rows:
        pcm = read(data / row["file"])
        pcm = pcm[: len(pcm) - len(pcm) % CHUNK_SAMPLES]
        cutter = SpeechWindows(0.5)
        windows = cutter.push(pcm, network.step([VadState()], [pcm])[0]) + cutter.close()
        yield _Recording(row, row["seconds"], windows, encoder([window.pcm for window in windows]))


def _turns(recording: _Recording, number: int) -> "list[Turn]":
    from asr.diarize.clustering import tell_apart

    windows = recording.windows
    if not windows:
        return []
    reliable = [window.reliable for window in windows]
    return _joined(windows, tell_apart(recording.embeddings, reliable, number))


def _live(recording: _Recording) -> "list[Turn]":
    """As a live stream whose finals end with the regions of speech."""
    from asr.diarize.online import OnlineVoices, regroup

    online, voices, windows = OnlineVoices(), list[int](), recording.windows
    for number, (window, embedding) in enumerate(zip(windows, recording.embeddings, strict=True), 1):
        online.hear(window, embedding)
        if number == len(windows) or windows[number].region != window.region:
            online.take(regroup(*online.look()))
            voices += [one.voice for one in online.heard if not one.said]
            for one in online.heard:
                one.said = True
    return _joined(windows, voices)


def _joined(windows: "Sequence[Window]", voices: Sequence[int]) -> "list[Turn]":
    from asr.diarize.labels import turns
    from bench.der import Turn

    result: list[Turn] = []
    for turn in turns(windows, voices):
        start, end, speaker = turn.start / 16_000, turn.end / 16_000, str(turn.voice)
        if result and result[-1].speaker == speaker and start - result[-1].end_s <= BREATH_S:
            start = result.pop().start_s
        result.append(Turn(start, end, speaker))
    return result


def _share(part: float, whole: "Score") -> float:
    return round(part / whole.scored, 4) if whole.scored else 0.0
