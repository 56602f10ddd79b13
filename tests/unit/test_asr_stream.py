"""The live policy: interims, commitment, endpoints, flushes, long speech."""

from dataclasses import replace

import numpy as np
import pytest

from asr.live.utterance import Aim
from asr.model import DecodeRequest, DecodeResult
from asr.transcript.events import SpeechEnded, SpeechStarted, Transcript, UtteranceEnd
from tests.fakes.policy_driver import TEMPLATE, Driver, options
from tests.fakes.recogniser import FakeRecogniser, audio, script

SENTENCE = "one two three four five six seven eight"


def numbers(n: int) -> str:
    return " ".join(f"w{i}" for i in range(n))


def assert_interims_keep_what_is_committed(driver: Driver) -> None:
    """Within a stretch, committed text only grows; these scripts are heard alike each time, so the final begins with it."""
    committed = ""
    for transcript in driver.transcripts:
        assert transcript.text.startswith(committed), (committed, transcript.text)
        if transcript.is_final:
            committed = ""
        else:
            assert transcript.text.startswith(transcript.committed)
            assert len(transcript.committed) >= len(committed)
            committed = transcript.committed


def test_speech_gives_interims_then_one_final() -> None:
    words = script(SENTENCE)
    driver = Driver(words).say(words, total_ms=4500)
    assert driver.text == SENTENCE
    assert [final.speech_final for final in driver.finals] == [True]
    assert len(driver.interims) >= 5
    assert_interims_keep_what_is_committed(driver)


def test_the_first_interim_comes_within_400_ms_of_the_first_word() -> None:
    words = script(SENTENCE)
    driver = Driver(words).say(words, total_ms=4500)
    first = next(at for at, event in driver.events if isinstance(event, Transcript) and "one" in event.text)
    assert first - words[0].end_ms / 1000 <= 0.4


def test_words_are_committed_while_speech_goes_on() -> None:
    words = script(numbers(20))
    driver = Driver(words).say(words)
    assert driver.interims[-1].committed.count("w") >= 15


def test_committed_words_are_the_prefix_of_later_decodes() -> None:
    words = script(numbers(20))
    driver = Driver(words).say(words)
    prefixes = [job.request.prefix for job in driver.jobs]
    assert any(prefixes)
    for earlier, later in zip(prefixes, prefixes[1:], strict=False):
        assert later[: len(earlier)] == earlier


def test_a_final_may_say_otherwise_what_interims_had_to_keep() -> None:
    class Mishears(FakeRecogniser):
        """Understands the first word only once the last one is there."""

        def read(self, request: DecodeRequest) -> DecodeResult:
            result = super().read(request)
            if result.tokens and not request.prefix and "w19" not in result.text:
                tokens = [*self.encode_text("what"), *result.tokens[1:]]
                return replace(result, tokens=tokens, text=self.decode_tokens(tokens).strip())
            return result

    words = script(numbers(20))
    driver = Driver(words, recogniser=Mishears(words)).say(words, total_ms=8000)
    committed = [interim.committed for interim in driver.interims if interim.committed]
    assert committed[-1].startswith("what w1 w2")
    for earlier, later in zip(committed, committed[1:], strict=False):
        assert later.startswith(earlier)
    assert [final.text for final in driver.finals] == [numbers(20)]


def test_a_final_that_stops_early_is_read_with_what_was_committed() -> None:
    class Brief(FakeRecogniser):
        """Takes the first word of a long window for all there is, unless it is told more."""

        def read(self, request: DecodeRequest) -> DecodeResult:
            result = super().read(request)
            if request.prefix or len(request.pcm) < 5 * 16_000:
                return result
            return replace(
                result, tokens=result.tokens[:1], text=self.decode_tokens(result.tokens[:1]).strip()
            )

    words = script(numbers(20))
    driver = Driver(words, recogniser=Brief(words)).say(words, total_ms=8000)
    assert driver.text == numbers(20)
    assert [bool(job.request.prefix) for job in driver.jobs if job.aim is Aim.FINAL][:2] == [False, True]


def test_the_final_is_there_when_the_silence_is_long_enough() -> None:
    words = script(SENTENCE)
    driver = Driver(words, decode_s=0.2).say(words, total_ms=4500)
    at = next(at for at, event in driver.events if isinstance(event, Transcript) and event.is_final)
    assert at - words[-1].end_ms / 1000 <= 0.6 + 0.1


def test_a_pause_shorter_than_endpointing_does_not_end_the_utterance() -> None:
    words = script("one two [400] three four")
    driver = Driver(words).say(words, total_ms=4000)
    assert [final.text for final in driver.finals] == ["one two three four"]


def test_each_utterance_has_its_final() -> None:
    words = script("one two [900] three four [900] five")
    driver = Driver(words).say(words, total_ms=6000)
    assert [final.text for final in driver.finals] == ["one two", "three four", "five"]
    assert all(final.speech_final for final in driver.finals)


def test_silence_reaches_no_model() -> None:
    driver = Driver([]).play(np.zeros(16_000 * 20, np.float32)).finish()
    assert driver.jobs == []
    assert driver.events == []


def test_silence_between_utterances_is_left_out_of_windows() -> None:
    words = script("one two [5000] three four")
    driver = Driver(words).say(words, total_ms=9000)
    assert max(job.end - job.start for job in driver.jobs) < 16_000 * 1.5


def test_the_last_words_come_at_the_end_of_audio_wherever_it_ends() -> None:
    words = script(SENTENCE)
    pcm = audio(words)
    for cut in range(12_000, len(pcm), 1777):
        heard = [word.text for word in words if word.end_ms * 16 <= cut]
        driver = Driver(words).play(pcm[:cut]).finish()
        assert driver.text.split()[: len(heard)] == heard, cut
        assert driver.policy.done


def test_a_flush_answers_with_everything_so_far_and_goes_on() -> None:
    words = script(SENTENCE)
    pcm = audio(words, total_ms=4500)
    for cut in range(10_000, 44_000, 2311):
        driver = Driver(words).play(pcm[:cut]).flush().play(pcm[cut:]).finish()
        flushed = [final for final in driver.finals if final.from_flush]
        assert len(flushed) == 1
        heard = [word.text for word in words if word.end_ms * 16 <= cut]
        said = " ".join(final.text for final in driver.finals).split()
        # A word that the flush cut in two may be misheard on both sides; every other is there once.
        whole = [word for word in said if not word.endswith("-")]
        cut_words = [word.text for word in words if word.start_ms * 16 < cut < word.end_ms * 16]
        assert [word for word in whole if word not in cut_words] == [
            word.text for word in words if word.text not in cut_words
        ]
        assert set(heard) <= set(said)


def test_a_flush_of_nothing_answers_an_empty_final() -> None:
    driver = Driver([]).flush().flush().settle()
    assert [(final.text, final.from_flush) for final in driver.finals] == [("", True), ("", True)]


def test_a_flush_after_the_endpoint_answers_once_more_and_empty() -> None:
    words = script("one two")
    driver = Driver(words).say(words, total_ms=3000).flush().settle()
    assert [(final.text, final.speech_final, final.from_flush) for final in driver.finals] == [
        ("one two", True, False),
        ("", False, True),
    ]


def test_endpointing_of_zero_ends_no_utterance() -> None:
    words = script("one two [3000] three")
    driver = Driver(words, options(endpointing_ms=0)).say(words, total_ms=7000).finish()
    assert driver.text == "one two three"
    assert not any(final.speech_final for final in driver.finals)


@pytest.mark.parametrize("endpointing_ms", [10, 100, 300, 1000, 3000])
def test_endpointing_is_waited_for(endpointing_ms: int) -> None:
    words = script("one two")
    driver = Driver(words, options(endpointing_ms=endpointing_ms)).say(words, total_ms=6000)
    at = next(at for at, event in driver.events if isinstance(event, Transcript) and event.is_final)
    waited_ms = at * 1000 - words[-1].end_ms
    assert max(endpointing_ms, 96) <= waited_ms <= max(endpointing_ms, 96) + 150


def test_voice_events_frame_the_results() -> None:
    words = script("one two [900] three")
    driver = Driver(words, options(vad_events=True, interim_results=False)).say(words, total_ms=4000)
    kinds = [type(event) for _, event in driver.events]
    assert kinds == [SpeechStarted, SpeechEnded, Transcript] * 2
    start = driver.events[0][1]
    assert isinstance(start, SpeechStarted)
    assert abs(start.at_ms - 500) <= 32


def test_the_end_of_the_utterance_follows_its_final() -> None:
    words = script("one two")
    driver = Driver(words, options(utterance_end_ms=1000)).say(words, total_ms=4000)
    last, end = driver.events[-2][1], driver.events[-1]
    assert isinstance(last, Transcript)
    assert isinstance(end[1], UtteranceEnd)
    assert last.is_final
    assert end[1].last_word_end_ms == last.end_ms
    assert end[0] * 1000 >= words[-1].end_ms + 1000


def test_the_end_of_the_utterance_closes_what_endpointing_left_open() -> None:
    words = script("one two")
    driver = Driver(words, options(utterance_end_ms=800, endpointing_ms=0)).say(words, total_ms=4000)
    assert [type(event) for _, event in driver.events[-2:]] == [Transcript, UtteranceEnd]
    assert driver.text == "one two"


def test_noise_ends_no_utterance() -> None:
    words = script("one two")
    recogniser = FakeRecogniser(words, no_speech_prob=0.9, avg_logprob=-1.3)
    driver = Driver(words, options(utterance_end_ms=800), recogniser=recogniser).say(words, total_ms=4000)
    assert driver.events == []


def test_an_utterance_ends_after_so_many_words() -> None:
    words = script(numbers(23), gap_ms=80)
    driver = Driver(words, options(max_words=5)).say(words, total_ms=9500)
    assert driver.text == numbers(23)
    assert [len(final.text.split()) for final in driver.finals[:-1]] == [5, 5, 5, 5]
    assert driver.finals[-1].speech_final


def test_so_many_words_at_once_are_several_finals() -> None:
    words = script(numbers(12))
    driver = Driver(words, options(max_words=5, interim_results=False), decode_s=5.0).say(words).finish()
    assert [len(final.text.split()) for final in driver.finals] == [5, 5, 2]


def test_long_speech_is_cut_and_nothing_is_lost_or_doubled() -> None:
    words = script(numbers(250), word_ms=220, gap_ms=40)
    driver = Driver(words, decode_s=0.3).say(words).finish()
    assert driver.text == numbers(250)
    assert len(driver.finals) >= 4
    assert_interims_keep_what_is_committed(driver)
    ends = [final.end_ms for final in driver.finals]
    assert ends == sorted(ends)


def test_windows_stay_bounded_however_long_the_speech() -> None:
    words = script(numbers(250), word_ms=220, gap_ms=40)
    driver = Driver(words, decode_s=0.3).say(words).finish()
    assert max(len(job.request.pcm) for job in driver.jobs) <= 18 * 16_000


def test_long_speech_without_interims_is_cut_too() -> None:
    words = script(numbers(300), word_ms=220, gap_ms=40)
    driver = Driver(words, options(interim_results=False), decode_s=0.3).say(words).finish()
    assert driver.text == numbers(300)
    assert driver.interims == []


def test_audio_that_comes_faster_than_it_is_decoded_is_not_lost() -> None:
    words = script(numbers(300), word_ms=220, gap_ms=40)
    driver = Driver(words, decode_s=30.0)
    pcm = audio(words, total_ms=80_000)
    whole = len(pcm) - len(pcm) % 512
    probabilities = np.where(np.abs(pcm[:whole]).reshape(-1, 512).mean(axis=1) > 0, 0.95, 0.02)
    driver.policy.push(pcm[:whole], probabilities.astype(np.float32))
    driver.finish()
    assert driver.text == numbers(300)
    assert max(len(job.request.pcm) for job in driver.jobs) <= 28 * 16_000


def test_speech_without_text_does_not_pile_up() -> None:
    pcm = np.full(16_000 * 60, 0.99, np.float32)  # the detector says voice, the model says nothing
    driver = Driver([]).play(pcm).finish()
    assert driver.text == ""
    assert driver.policy.backlog_ms == 0


def test_no_interims_unless_asked_for() -> None:
    words = script(SENTENCE)
    driver = Driver(words, options(interim_results=False)).say(words, total_ms=4500)
    assert driver.interims == []
    assert driver.text == SENTENCE
    assert {job.aim for job in driver.jobs} == {Aim.FINAL}


def test_interims_get_rarer_when_decoding_is_slow() -> None:
    words = script(numbers(40))
    quick = Driver(words, decode_s=0.02).say(words)
    slow = Driver(words, decode_s=0.4).say(words, total_ms=words[-1].end_ms + 2000)
    assert len(slow.jobs) < len(quick.jobs) / 2
    assert slow.text == numbers(40)


def test_the_first_text_is_tried_for_without_a_rest_and_sound_without_text_is_not() -> None:
    words = script(numbers(20))
    driver = Driver(words, decode_s=0.3, recogniser=FakeRecogniser(words, avg_logprob=-2.0)).say(words)
    begun = [job.begun_s for job in driver.jobs if job.aim is Aim.INTERIM]
    waits = [later - earlier for earlier, later in zip(begun, begun[1:], strict=False)]
    assert max(waits[:4]) <= 0.4
    assert min(waits[7:]) >= 0.7
    driver = Driver(words, decode_s=0.3).say(words)
    begun = [job.begun_s for job in driver.jobs if job.aim is Aim.INTERIM]
    assert begun[1] - begun[0] >= 0.7


def test_a_final_does_not_wait_for_an_interim() -> None:
    words = script(SENTENCE)
    driver = Driver(words, decode_s=1.0).play(audio(words)).flush()
    assert driver.jobs[-1].aim is Aim.FINAL


def test_times_count_from_the_offset() -> None:
    words = script("one two")
    driver = Driver(words, options(offset_ms=60_000)).say(words, total_ms=3000)
    final = driver.finals[0]
    assert abs(final.start_ms - 60_500) <= 40
    assert [word.text for word in final.words] == ["one", "two"]
    assert abs(final.words[1].end_ms - (60_000 + words[1].end_ms)) <= 40


def test_words_come_with_times_only_when_asked_for() -> None:
    words = script("one two")
    template = replace(TEMPLATE, word_times=False)
    driver = Driver(words, options(template=template)).say(words, total_ms=3000)
    assert driver.finals[0].words == ()


def test_the_language_is_detected_once_enough_was_said() -> None:
    words = script(numbers(20) + " [900] more")
    template = replace(TEMPLATE, language="")
    recogniser = FakeRecogniser(words, language="de")
    driver = Driver(words, options(template=template), recogniser=recogniser).say(words, total_ms=9000)
    assert driver.jobs[0].request.language == ""
    assert driver.jobs[-1].request.language == "de"
    assert {final.language for final in driver.finals} == {"de"}


def test_nothing_is_committed_before_the_language_is_settled() -> None:
    words = script(numbers(6))
    driver = Driver(words, options(template=replace(TEMPLATE, language=""))).say(words)
    early = [job for job in driver.jobs if not job.request.language]
    assert early
    assert not any(job.request.prefix for job in early)


def test_doubtful_hypotheses_commit_nothing() -> None:
    words = script(numbers(20))
    driver = Driver(words, recogniser=FakeRecogniser(words, avg_logprob=-0.9)).say(words)
    assert driver.interims
    assert not any(interim.committed for interim in driver.interims)


def test_improbable_text_on_noise_is_not_shown() -> None:
    words = script("one two three")
    recogniser = FakeRecogniser(words, no_speech_prob=0.8, avg_logprob=-1.2)
    driver = Driver(words, recogniser=recogniser).say(words, total_ms=4000).finish()
    assert driver.events == []


def test_memory_does_not_grow_with_silence() -> None:
    driver = Driver([]).play(np.zeros(16_000 * 120, np.float32))
    assert driver.policy._buffer.end - driver.policy._buffer.base < 16_000 * 3
