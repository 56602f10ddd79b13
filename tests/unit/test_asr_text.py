"""How text is written, agreed on and judged; which language a stream is in."""

import pytest

from asr.live.agreement import agreed, is_boundary
from asr.live.tuning import Tuning
from asr.model import DecodeResult
from asr.recording.language import LanguageGuess, LanguageVote
from asr.transcript.guard import Heard, plausible
from asr.transcript.text import Style, common_head, strip_punctuation

PIECES = [
    " one",
    " two",
    " thr",
    "ee",
    ",",
    " don",
    "'t",
    "今",
    "日",
    "は",
    " four",
    " \N{REPLACEMENT CHARACTER}",
]


def text_of(tokens: tuple[int, ...]) -> str:
    return "".join(PIECES[token] for token in tokens)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Hello, world!", "Hello world"),
        ("It's 3.5 o'clock - or 10:30.", "It's 3.5 o'clock or 10:30"),
        ("a well-known, 1,000-fold rise of 5%", "a well-known 1,000-fold rise of 5%"),
        ("今日は、いい天気。", "今日はいい天気"),
        ("¿Qué? ¡Sí!", "Qué Sí"),
        ("...", ""),
    ],
)
def test_punctuation_goes_and_words_stay(text: str, bare: str) -> None:
    assert strip_punctuation(text) == bare


def test_profanity_is_masked_in_whole_words_only() -> None:
    style = Style(profanity_filter=True)
    assert style.apply("Well, shit. Scunthorpe has class.") == "Well, s***. Scunthorpe has class."


@pytest.mark.parametrize("style", [Style(), Style(no_punctuation=True, no_capitalization=True)])
def test_styled_heads_stay_heads(style: Style) -> None:
    text = "Well, it's 3.5 percent. Don't you think so?"
    for end in (i for i, character in enumerate(text) if character == " "):
        head = style.apply(text[:end])
        assert common_head(style.apply(text), head) == len(head)


def test_agreement_stops_at_a_whole_word() -> None:
    assert agreed((0, 1, 2, 3), (0, 1, 2, 10), text_of) == 2
    assert agreed((0, 1, 10), (0, 1, 10), text_of) == 2  # the last word may go on
    assert agreed((1, 0), (0, 1), text_of) == 0


def test_punctuation_may_change_after_a_word_that_stays() -> None:
    assert is_boundary((0, 2, 3, 4), 3, text_of)


def test_a_contraction_is_one_word() -> None:
    assert not is_boundary((5, 6, 0), 1, text_of)


def test_scripts_without_spaces_break_between_characters() -> None:
    assert is_boundary((7, 8, 9), 1, text_of)


def test_a_character_is_not_cut() -> None:
    assert not is_boundary((11, 0), 1, text_of)


@pytest.mark.parametrize(
    ("result", "heard", "shown"),
    [
        (DecodeResult(text="good morning", avg_logprob=-0.3), Heard(900, 1200), True),
        (DecodeResult(text="", avg_logprob=-0.1), Heard(900, 1200), False),
        (DecodeResult(text="...", avg_logprob=-0.1), Heard(900, 1200), False),
        (DecodeResult(text="you", avg_logprob=-0.3), Heard(30, 1200), False),
        (DecodeResult(text="you", avg_logprob=-1.1, no_speech_prob=0.8), Heard(900, 1200), False),
        (DecodeResult(text="you", avg_logprob=-1.1, no_speech_prob=0.2), Heard(900, 1200), True),
        (DecodeResult(text="you", avg_logprob=-0.9), Heard(200, 5000), False),
        (DecodeResult(text="x " * 100, avg_logprob=-0.2), Heard(900, 1200), False),
        (DecodeResult(text="la la la", avg_logprob=-0.8, compression_ratio=3.0), Heard(900, 1200), False),
    ],
)
def test_what_is_shown(result: DecodeResult, heard: Heard, shown: bool) -> None:
    assert plausible(result, heard) is shown


def detected(language: str, probability: float) -> DecodeResult:
    return DecodeResult(text="x", language=language, language_probability=probability)


def test_a_sure_language_is_settled_after_two_seconds() -> None:
    guess = LanguageGuess(Tuning())
    assert guess.heard(detected("en", 0.9), 1000) == ""
    assert guess.heard(detected("en", 0.9), 2000) == "en"


def test_an_unsure_language_waits_for_the_likeliest() -> None:
    guess = LanguageGuess(Tuning())
    assert guess.heard(detected("da", 0.5), 2500) == ""
    guess.closed(2500)
    assert guess.heard(detected("en", 0.6), 3000) == ""
    guess.closed(3000)
    assert guess.heard(detected("en", 0.6), 3000) == "en"


async def test_the_first_segments_vote_by_certainty_and_length() -> None:
    vote = LanguageVote()
    assert [vote.enter() for _ in range(5)] == [True] * 4 + [False]
    for language, probability, voiced_ms in (
        ("de", 0.9, 1000),
        ("en", 0.6, 9000),
        ("de", 0.9, 1000),
        ("en", 0.6, 9000),
    ):
        vote.cast(detected(language, probability), voiced_ms)
    assert await vote.language() == "en"


async def test_a_named_language_needs_no_vote() -> None:
    vote = LanguageVote("fr")
    assert not vote.enter()
    assert await vote.language() == "fr"


async def test_nobody_to_vote_names_no_language() -> None:
    vote = LanguageVote()
    vote.no_more()
    assert await vote.language() == ""
