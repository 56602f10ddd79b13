"""What was said before an utterance, as the model gets to read it, and how it is taken off again."""

from dataclasses import replace

from asr.live.context import Context, Lead, without_lead
from asr.live.tuning import Tuning
from asr.live.utterance import Aim
from asr.model import DecodedWord, DecodeRequest, DecodeResult
from tests.fakes.policy_driver import Driver, options
from tests.fakes.recogniser import FakeRecogniser, script

VOCABULARY = [" It", " rains", ".", " and", " pours", ",", " \N{INVERTED QUESTION MARK}", "?", "..."]
IT, RAINS, STOP, AND, POURS, COMMA, OPENS, ASKS, DOTS = range(9)
S = 16_000


def text_of(tokens: tuple[int, ...]) -> str:
    return "".join(VOCABULARY[token] for token in tokens)


def lead_of(*tokens: int) -> Lead | None:
    context = Context(Tuning(), text_of)
    context.said(0, S, tokens)
    return context.before(S + S // 2, 3 * S)


def own_part(*tokens: int, words: list[DecodedWord] | None = None) -> DecodeResult:
    result = DecodeResult(tokens=[IT, RAINS, *tokens], words=words or [])
    return without_lead(result, Lead(0, (IT, RAINS)), S, text_of)


def test_the_full_stop_that_a_pause_put_there_is_not_forced() -> None:
    for marks in ((STOP,), (COMMA,), (DOTS,), (ASKS, STOP)):
        assert lead_of(IT, RAINS, *marks) == Lead(0, (IT, RAINS))


def test_marks_between_words_stay() -> None:
    assert lead_of(IT, RAINS, STOP, IT, POURS) == Lead(0, (IT, RAINS, STOP, IT, POURS))


def test_nothing_but_marks_leads_to_nothing() -> None:
    assert lead_of(STOP) is None


def test_a_mark_that_the_model_puts_behind_the_lead_is_no_part_of_the_text() -> None:
    for marks in ((), (STOP,), (COMMA,), (DOTS, ASKS)):
        own = own_part(*marks, AND, POURS, STOP)
        assert own.tokens == [AND, POURS, STOP]
        assert own.text == "and pours."


def test_a_mark_that_opens_the_text_stays() -> None:
    assert own_part(STOP, OPENS, IT, ASKS).text == "\N{INVERTED QUESTION MARK} It?"


def test_words_are_those_of_the_text_on_the_clock_of_its_window() -> None:
    words = [
        DecodedWord("It", 0.1, 0.3, 0.9, 1),
        DecodedWord("rains,", 0.4, 0.9, 0.9, 2),
        DecodedWord("and", 1.2, 1.4, 0.9, 1),
        DecodedWord("pours.", 1.5, 1.9, 0.9, 2),
    ]
    own = own_part(COMMA, AND, POURS, STOP, words=words)
    assert [word.text for word in own.words] == ["and", "pours."]
    assert [round(word.start_s, 1) for word in own.words] == [0.2, 0.5]
    assert sum(word.n_tokens for word in own.words) == len(own.tokens)


# --- in the policy


def test_a_final_is_decoded_with_what_was_said_right_before_it() -> None:
    words = script("one two three [700] four five six")
    driver = Driver(words).say(words, total_ms=5000).finish()
    assert [final.text for final in driver.finals] == ["one two three", "four five six"]
    second = [job for job in driver.jobs if job.aim is Aim.FINAL][-1]
    assert second.lead is not None
    assert driver.recogniser.decode_tokens(second.request.prefix).split()[:3] == ["one", "two", "three"]
    assert len(second.request.pcm) > second.end - second.start  # the audio of them too
    first, later = driver.finals
    assert [word.text for word in later.words] == ["four", "five", "six"]
    for word, spoken in zip(later.words, words[3:], strict=True):
        assert abs(word.start_ms - spoken.start_ms) <= 40
    assert later.start_ms > first.end_ms


def test_what_was_said_long_before_is_left_out() -> None:
    words = script("one two three [2500] four five six")
    driver = Driver(words).say(words, total_ms=7000).finish()
    assert all(job.lead is None for job in driver.jobs)
    assert driver.text == "one two three four five six"


def test_context_never_makes_a_window_too_long() -> None:
    words = script(" [700] ".join(["one two three four five six"] * 12))
    driver = Driver(words).say(words, total_ms=words[-1].end_ms + 1000).finish()
    leads = [job for job in driver.jobs if job.lead is not None]
    assert leads
    assert all(len(job.request.pcm) <= 12 * 16_000 for job in leads)
    assert driver.text == " ".join(word.text for word in words)


def test_a_final_that_adds_nothing_to_what_was_said_is_decoded_alone() -> None:
    class Satisfied(FakeRecogniser):
        """Takes the earlier text for all there is."""

        def read(self, request: DecodeRequest) -> DecodeResult:
            result = super().read(request)
            if len(request.pcm) > 2.5 * 16_000 and request.prefix:
                return replace(result, tokens=list(request.prefix), words=result.words[: len(request.prefix)])
            return result

    words = script("one two three [700] four five")
    driver = Driver(words, options(interim_results=False), recogniser=Satisfied(words))
    assert driver.say(words, total_ms=5000).finish().text == "one two three four five"
    assert [job.lead is not None for job in driver.jobs][-2:] == [True, False]
