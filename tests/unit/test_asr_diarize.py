"""Windows of speech, groups of voices, labels of words. Embeddings are synthetic: a direction per voice, plus noise."""

import numpy as np
import pytest

from asr.diarize.clustering import Floats, cluster, tell_apart
from asr.diarize.labels import Names, Turn, label, turns
from asr.diarize.online import MEMORY_WINDOWS, Heard, OnlineVoices, regroup
from asr.diarize.windows import HOP_SAMPLES, WINDOW_SAMPLES, SpeechWindows, Window
from asr.transcript.events import TimedWord, Transcript
from asr.voice.vad import CHUNK_SAMPLES

NOTHING = np.empty(0, np.float32)


def voices(*counts: int, likeness: float = 0.8, between: float = 0.4, seed: int = 0) -> Floats:
    """Unit vectors [sum of counts, 256]: mean cosine `likeness` within a voice and `between` two voices."""
    rng = np.random.default_rng(seed)

    def direction(n: int) -> Floats:
        return np.asarray(rng.standard_normal((n, 256)) / 16, np.float32)

    common, own = direction(1), direction(len(counts))
    middles = np.sqrt(between) * common + np.sqrt(likeness - between) * own
    drawn = np.repeat(middles, counts, axis=0) + np.sqrt(1 - likeness) * direction(sum(counts))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def same_partition(labels: "np.ndarray[tuple[int], np.dtype[np.intp]]", *counts: int) -> bool:
    expected = np.repeat(np.arange(len(counts)), counts)
    return len(set(zip(labels, expected, strict=True))) == len(counts) == len(set(labels))


@pytest.mark.parametrize("counts", [(5,), (40, 40), (30, 6, 12), (9, 9, 9, 9), (4,) * 8])
def test_voices_are_told_apart_without_their_number(counts: tuple[int, ...]) -> None:
    assert same_partition(cluster(voices(*counts)), *counts)


@pytest.mark.parametrize("likeness", [0.62, 0.7, 0.9])
@pytest.mark.parametrize("count", [1, 2, 3, 20, 150])
def test_one_voice_stays_one(count: int, likeness: float) -> None:
    assert set(cluster(voices(count, likeness=likeness))) == {0}


def test_a_given_number_is_kept() -> None:
    embeddings = voices(20, 20, 20)
    for number in (1, 2, 3, 4, 7):
        assert len(set(cluster(embeddings, number))) == number
    assert same_partition(cluster(embeddings, 3), 20, 20, 20)
    assert len(set(cluster(embeddings[:3], 5))) <= 3


def test_a_given_number_counts_a_voice_that_says_little() -> None:
    assert same_partition(cluster(voices(20, 1), 2), 20, 1)


def test_odd_windows_are_no_speaker() -> None:
    embeddings = np.concatenate((voices(20, 20), voices(1, seed=5), voices(1, seed=6)))
    labels = cluster(embeddings)
    assert set(labels) == {0, 1} and same_partition(labels[:40], 20, 20)


def test_two_hours_are_grouped_by_a_sample() -> None:
    assert same_partition(cluster(voices(5000, 3000, 1000)), 5000, 3000, 1000)


def test_no_windows_no_groups() -> None:
    assert len(cluster(np.empty((0, 256), np.float32))) == 0


def speech(*spans_ms: tuple[int, int], total_ms: int) -> tuple[Floats, Floats]:
    """Samples that count up, with their speech probabilities."""
    chunks = total_ms // 32
    middles = (np.arange(chunks) + 0.5) * 32
    inside = np.any([(middles >= a) & (middles < b) for a, b in spans_ms], axis=0)
    return np.arange(chunks * CHUNK_SAMPLES, dtype=np.float32), np.where(inside, 0.9, 0.05).astype(np.float32)


def test_windows_keep_within_regions() -> None:
    samples, probabilities = speech((320, 5440), (6080, 6720), (7360, 7584), (8000, 20_000), total_ms=21_000)
    whole, pieces = SpeechWindows(0.5), SpeechWindows(0.5)
    windows = whole.push(samples, probabilities) + whole.close()
    piecemeal: list[Window] = []
    for i in range(len(probabilities)):
        chunk = samples[i * CHUNK_SAMPLES : (i + 1) * CHUNK_SAMPLES]
        piecemeal += pieces.push(chunk, probabilities[i : i + 1])
    piecemeal += pieces.close()
    assert [(w.start, w.end, w.region) for w in windows] == [(w.start, w.end, w.region) for w in piecemeal]
    for window in windows:
        assert window.end - window.start <= WINDOW_SAMPLES
        np.testing.assert_array_equal(window.pcm, samples[window.start : window.end])
    regions: dict[int, list[Window]] = {}
    for window in windows:
        regions.setdefault(window.region, []).append(window)
    ends = [(part[0].start // 16, part[-1].end // 16) for part in regions.values()]
    assert ends == [(320, 5440), (6080, 6720), (8000, 20_000)]  # 224 ms say nothing about a voice
    assert [w.reliable for w in regions[1]] == [False]
    starts = [w.start for w in regions[0]]
    assert set(np.diff(starts[:-1])) == {HOP_SAMPLES}


def test_a_flush_ends_the_region() -> None:
    samples, probabilities = speech((0, 2000), total_ms=2000)
    cutter = SpeechWindows(0.5)
    first = cutter.push(samples, probabilities)
    assert not cutter.covers(2000 * 16) and cutter.covers(1000 * 16)
    last = cutter.close()
    assert cutter.covers(2000 * 16) and (first + last)[-1].end == len(probabilities) * CHUNK_SAMPLES
    again = cutter.push(samples, probabilities) + cutter.close()
    assert again[0].start >= last[-1].end and again[0].region > last[-1].region


def window(start: int, end: int, region: int) -> Window:
    return Window(start, end, region, NOTHING)


def test_a_change_within_a_region_lies_between_the_windows() -> None:
    windows = [window(0, 160, 0), window(80, 240, 0), window(160, 320, 0), window(400, 500, 1)]
    assert turns(windows, [3, 3, 1, 1]) == [Turn(0, 200, 3), Turn(200, 320, 1), Turn(400, 500, 1)]
    assert turns([], []) == []


def transcript(*words: tuple[int, int]) -> Transcript:
    timed = tuple(TimedWord(f"w{a}", a, b, 1.0) for a, b in words)
    return Transcript("text", words[0][0], words[-1][1], is_final=True, words=timed)


def said(transcript: Transcript) -> list[int | None]:
    return [word.speaker for word in transcript.words]


def test_words_take_the_speaker_of_most_of_their_time() -> None:
    spoken = [Turn(0, 1000, 7), Turn(1000, 2000, 2), Turn(3000, 4000, 7)]
    names = Names()
    words = transcript((100, 300), (700, 1100), (950, 1400), (2100, 2300), (2800, 2950), (3900, 5000))
    assert said(label(words, spoken, names)) == [0, 0, 1, 1, 0, 0]
    later = label(transcript((1200, 1300), (9000, 9100)), [*spoken, Turn(9000, 9900, 4)], names)
    assert said(later) == [1, 2]


def test_words_without_any_turn_are_the_first_speakers() -> None:
    assert said(label(transcript((0, 100)), [], Names())) == [0]


def test_short_windows_join_the_nearest_voice() -> None:
    embeddings = voices(10, 10)
    reliable = [i not in (9, 19) for i in range(20)]
    assert same_partition(np.array(tell_apart(embeddings, reliable)), 10, 10)
    assert set(tell_apart(embeddings[:2], [False, False])) == {0}


def hear(online: OnlineVoices, embeddings: Floats) -> list[Heard]:
    """A final's windows, heard and said."""
    at = len(online.heard) * 25_600
    for index, embedding in enumerate(embeddings):
        online.hear(window(at + index * 25_600, at + (index + 1) * 25_600, at), embedding)
    online.take(regroup(*online.look()))
    new = [one for one in online.heard if not one.said]
    for one in new:
        one.said = True
    return new


def test_live_voices_are_told_apart_and_found_again() -> None:
    one, two, three = np.split(voices(20, 20, 20), 3)
    online = OnlineVoices()
    script = [(one[:8], 0), (two[:5], 1), (one[8:14], 0), (three[:4], 2), (two[5:], 1), (one[14:], 0)]
    for embeddings, expected in script:
        assert [entry.voice for entry in hear(online, embeddings)] == [expected] * len(embeddings)


def test_what_was_said_keeps_its_speaker() -> None:
    one, two = np.split(voices(8, 8), 2)
    online = OnlineVoices()
    first = hear(online, one)
    odd = hear(online, two[:1])
    assert odd[0].voice == 0  # one window makes no voice
    later = hear(online, two[1:])
    assert {entry.voice for entry in later} == {1}
    assert odd[0].voice == 0 and {entry.voice for entry in first} == {0}


def test_names_outlast_the_memory() -> None:
    one, two = np.split(voices(900, 900), 2)
    online = OnlineVoices()
    for turn in range(90):
        assert {entry.voice for entry in hear(online, (one, two)[turn % 2][turn * 10 : turn * 10 + 10])} == {
            turn % 2
        }
        assert len(online.heard) <= MEMORY_WINDOWS + 10


def test_windows_may_come_during_a_look() -> None:
    one, two = np.split(voices(8, 8), 2)
    online = OnlineVoices()
    hear(online, one)
    groups = regroup(*online.look())
    online.hear(window(0, 25_600, 9), two[0])
    online.take(groups)
    assert online.fresh and online.heard[-1].voice == -1


def test_live_voices_are_no_more_than_asked() -> None:
    online = OnlineVoices(2)
    for part in np.split(voices(10, 10, 10), 3):
        assert max(entry.voice for entry in hear(online, part)) <= 1
    assert {entry.voice for entry in hear(OnlineVoices(1), voices(5, 5))} == {0}


def test_one_live_voice_stays_one() -> None:
    for seed in range(20):
        online = OnlineVoices()
        for part in np.split(voices(60, likeness=0.72, seed=seed), 20):
            assert {entry.voice for entry in hear(online, part)} == {0}
