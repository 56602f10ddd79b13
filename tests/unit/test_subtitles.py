"""Cues, SRT and WebVTT."""

from common.subtitles import CUE_CHARS, CUE_S, LINE_CHARS, Cue, Word, cues, srt, vtt


def words(text: str, *, start_s: float = 0.0, each_s: float = 0.3) -> list[Word]:
    return [
        Word(word, start_s + i * each_s, start_s + (i + 1) * each_s) for i, word in enumerate(text.split())
    ]


def test_a_pause_begins_a_new_cue() -> None:
    found = cues([*words("one two"), *words("three", start_s=3.0)])
    assert [cue.text for cue in found] == ["one two", "three"]


def test_a_sentence_ends_a_cue() -> None:
    found = cues(words("This is the first sentence. And this the second."))
    assert [cue.text for cue in found] == ["This is the first sentence.", "And this the second."]


def test_a_very_short_sentence_stays_with_the_next() -> None:
    assert len(cues(words("Yes. I think so too."))) == 1


def test_cues_keep_their_limits() -> None:
    found = cues(words("considerable " * 60, each_s=0.5))
    assert all(len(cue.text) <= CUE_CHARS and cue.end_s - cue.start_s <= CUE_S for cue in found)


def test_punctuation_of_its_own_joins_the_word_before() -> None:
    assert cues([Word("Hello", 0, 0.5), Word(".", 0.5, 0.5)])[0].text == "Hello."


def test_srt_is_numbered_and_has_commas() -> None:
    text = srt([Cue("Hello.", 0.0, 1.5), Cue("Again.", 3661.25, 3662.0)])
    assert text == ("1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n01:01:01,250 --> 01:01:02,000\nAgain.\n")


def test_vtt_escapes_markup() -> None:
    text = vtt([Cue("a < b --> c & d", 0.0, 1.0)])
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &lt; b --&gt; c &amp; d\n"


def test_long_cues_are_two_lines() -> None:
    lines = srt([Cue("word " * 16, 0.0, 1.0)]).splitlines()[2:]
    assert len(lines) == 2 and all(len(line) <= LINE_CHARS for line in lines)
