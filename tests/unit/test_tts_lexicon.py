"""The caller's own pronunciations, and phonemes inside the text."""

import pytest

from common.errors import InvalidArgument
from tts.text.lexicon import MAX_ENTRIES, Lexicon
from tts.text.reader import Reader
from tts.text.words import Word


def read(text: str, *entries: tuple[str, str]) -> list[tuple[str, str]]:
    """Each word as written, with its phonemes or its spoken form."""
    words = Reader("en-US", Lexicon(entries)).read(text)
    return [(word.written, f"/{word.ipa}/" if word.ipa else word.spoken) for word in words]


def test_a_word_takes_its_ipa_whatever_its_case() -> None:
    assert read("A TOMATO, please.", ("tomato", "/təˈmɑːtoʊ/")) == [
        ("A", "A"), ("TOMATO,", "/təˈmɑːtoʊ/"), ("please.", "please"),
    ]  # fmt: skip


def test_a_respelling_is_read_in_place_of_the_word() -> None:
    assert read("Tomato", ("tomato", "tuh-MAY-toh")) == [("Tomato", "tuh-may-toh")]


def test_punctuation_after_the_word_is_kept() -> None:
    (word,) = Reader("en-US", Lexicon([("gif", "/dʒɪf/")])).read("gif!")
    assert word == Word("gif!", ipa="dʒɪf", mark="!")


def test_phrases_are_found_and_the_longest_wins() -> None:
    entries = (("new york", "noo yawk"), ("york", "york"), ("new york city", "the city"))
    assert read("In New York City and New York", *entries) == [
        ("In", "In"), ("New York City", "the city"), ("and", "and"), ("New York", "noo yawk"),
    ]  # fmt: skip


def test_the_later_of_two_entries_counts() -> None:
    assert read("a b", ("b", "x"), ("B", "y")) == [("a", "a"), ("b", "y")]


def test_the_lexicon_goes_before_the_rules() -> None:
    assert read("5G is 5 km", ("5G", "fiver")) == [
        ("5G", "fiver"),
        ("is", "is"),
        ("5", "five"),
        ("km", "kilometers"),
    ]


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([("", "/a/")], "word"),
        ([("a", "")], "IPA"),
        ([("a", "/ /")], "IPA"),
        ([("a" * 101, "b")], "word"),
        ([("a", "b" * 301)], "IPA"),
        ([("a", "b")] * (MAX_ENTRIES + 1), "at most"),
    ],
)
def test_bad_entries_are_refused(entries: list[tuple[str, str]], what: str) -> None:
    with pytest.raises(InvalidArgument, match=what):
        Lexicon(entries)


def test_phonemes_inside_the_text() -> None:
    assert read("Say [[həlˈoʊ]], [live](/laɪv/) [here](https://example.com/x).") == [
        ("Say", "Say"), ("[[həlˈoʊ]]", "/həlˈoʊ/"), (",", ""), ("live", "/laɪv/"), ("here.", "here"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[[", "]]", "[[]]", "[a](", "[](/x/)", "[[a", "a]](/b/)"])
def test_broken_markup_is_ordinary_text(text: str) -> None:
    assert all(not word.ipa for word in Reader("en-US").read(text))


def test_private_characters_of_the_caller_are_dropped() -> None:
    assert read("a \U000f0000 b\ue000") == [("a", "a"), ("b", "b")]
