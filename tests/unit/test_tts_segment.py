"""Where text is cut into what is spoken in one go."""

import pytest

from tts.text.segment import MAX_CHARS, Boundary, Segmenter


def cut(text: str, piece: int | None = None, language: str = "en") -> list[str]:
    """The segments of `text` given in pieces of so many characters."""
    segmenter = Segmenter(language=language)
    step = piece or max(len(text), 1)
    segments = [s for i in range(0, len(text), step) for s in segmenter.push(text[i : i + step])]
    return [segment.text for segment in [*segments, *segmenter.flush()]]


@pytest.mark.parametrize("piece", [None, 1, 3, 7])
@pytest.mark.parametrize(
    "text",
    [
        "Hello there.| How are you?| I am fine!",
        "Dr. Smith met Mr. and Mrs. Jones.| They talked.",
        "It costs $3.50 or 1,234.56 in all.| And 7.",
        "Meet me at 5 p.m. on Monday.| We leave at 6 a.m.| The bus waits.",
        "J. R. R. Tolkien wrote it.| It sold well.",
        "Bring fruit e.g. apples i.e. real ones etc. for us.| The end",
        "See example.com.| Then go to https://a.b/c?d=1.2!x and mail a.b@c.de.| Done",
        "Wait... what?| No. 5 is alive.",
        "The U.S. Senate met.| In the U.S.| It rained.",
        '"Stop!" he said.| "Go!"| She went.',
        "One\n\n|Two",
        "Buy:\n|- milk\n|- eggs\n|1. First\n|2. Second",
        "你好。|今天好！|真的吗？",
        "Say [[təˈmɑː. toʊ]] now.| And [it](/ɪt. ɪt/) too.",
        "Version 1.2.3 is out.| Get it",
        "What?!| Really?| Yes",
        "He paid 5. |Then he left",
    ],
)
def test_sentences_are_cut_the_same_however_they_come(text: str, piece: int | None) -> None:
    assert cut(text.replace("|", ""), piece) == [part.strip() for part in text.split("|")]


def test_a_number_in_two_pieces_stays_whole() -> None:
    segmenter = Segmenter()
    assert [*segmenter.push("It costs 3."), *segmenter.push("50 today.")] == []
    assert [s.text for s in segmenter.push(" ")] == ["It costs 3.50 today."]


def test_the_first_segment_ends_at_a_comma_when_no_sentence_is_complete() -> None:
    segmenter = Segmenter()
    early = [*segmenter.push("Well, as I was saying, the thing that")]
    assert [(s.text, s.boundary) for s in early] == [("Well, as I was saying,", Boundary.CLAUSE)]
    assert [*segmenter.push(" we wanted, all of it, is")] == []  # later ones wait for their sentence
    assert [s.text for s in segmenter.push(" gone. Yes")] == ["the thing that we wanted, all of it, is gone."]


def test_a_long_sentence_is_cut_at_clauses_then_at_words() -> None:
    clause = "a word or two that go on for a while and then some more words, "
    for text in (clause * 20, clause.replace(",", "") * 20, "x" * 1000):
        parts = cut(text)
        assert all(0 < len(part) <= MAX_CHARS for part in parts)
        assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert all(part.endswith(",") for part in cut(clause * 20))


def test_nothing_is_lost_or_doubled() -> None:
    text = (
        "One two, three. Four! (Five) [six. seven; eight: 9.10 — eleven? Twelve... thirteen\n\nfourteen" * 30
    )
    for piece in (1, 2, 5, len(text)):
        assert "".join("".join(cut(text, piece)).split()) == "".join(text.split())


def test_waiting_text_is_cut_at_a_word_when_its_time_is_over() -> None:
    now = 100.0
    segmenter = Segmenter(max_delay_s=0.5, clock=lambda: now)
    assert segmenter.deadline is None
    list(segmenter.push("hello wor"))
    assert segmenter.deadline == 100.5
    now = 101.0
    assert [(s.text, s.boundary) for s in segmenter.expire()] == [("hello", Boundary.CUT)]
    assert segmenter.deadline == 101.5
    assert [s.text for s in segmenter.expire()] == ["wor"]
    assert segmenter.deadline is None
    assert segmenter.expire() == []


def test_without_a_limit_text_waits_for_ever() -> None:
    segmenter = Segmenter()
    list(segmenter.push("hello"))
    assert segmenter.deadline is None


def test_flush_takes_half_a_word_and_starts_a_turn() -> None:
    segmenter = Segmenter()
    list(segmenter.push("Hello wor"))
    assert [s.text for s in segmenter.flush()] == ["Hello wor"]
    assert segmenter.waiting == 0
    early = [*segmenter.push("ld, and the rest of it, then")]
    assert [s.text for s in early] == ["ld, and the rest of it,"]


@pytest.mark.parametrize("text", ["", " ", "\n\t \n", " \n" * 10_000])
def test_white_space_is_nothing(text: str) -> None:
    assert cut(text) == []


@pytest.mark.parametrize("language", ["de", "de-DE"])
def test_abbreviations_of_other_languages(language: str) -> None:
    assert cut("Das ist z.B. gut, bzw. Dr. Mabuse. Ende gut.", language=language) == [
        "Das ist z.B. gut, bzw. Dr. Mabuse.",
        "Ende gut.",
    ]


@pytest.mark.parametrize(
    "text", ["[[" * 20_000, "a.b" * 20_000, "a@" * 20_000, "[a](/" * 10_000, "\n- " * 20_000, ". " * 20_000]
)
def test_hostile_text_is_cut_in_linear_time(text: str) -> None:
    """Each of these took seconds with one careless expression; the test only has to end."""
    assert sum(map(len, cut(text))) <= len(text)
