"""Words to phoneme ids, and back to the words they belong to."""

import pytest

from tests.fakes.synthesiser import SIGNS, make_voice
from tts.model import VoiceInfo
from tts.text.phonemes import PhonemeEncoder, Phonemes
from tts.text.reader import Reader
from tts.text.words import Word


def signs(ids: tuple[int, ...]) -> str:
    return "".join(SIGNS[i] for i in ids)


def encode(text: str, voice: VoiceInfo | None = None) -> Phonemes:
    (clause,) = PhonemeEncoder(voice or make_voice()).encode(Reader("en-US").read(text))
    return clause


def spoken(clause: Phonemes) -> list[tuple[str, str]]:
    """Each written word with its phonemes."""
    return [(s.text, signs(clause.ids[s.first_id : s.last_id + 1]).replace("_", "")) for s in clause.spans]


def test_ids_are_framed_and_padded() -> None:
    assert signs(encode("hi").ids) == "^_h_ˈ_a_ɪ_$"


def test_punctuation_is_kept() -> None:
    assert signs(encode("Hello, world! Who: me; you?").ids).replace("_", "") == (
        "^həlˈoʊ, wˈɜːld! hˈuː: mˈiː; juː?$"
    )


def test_every_word_has_its_phonemes() -> None:
    assert spoken(encode("I paid $5.50, Dr. Who.")) == [
        ("I", "aɪ"), ("paid", "pˈeɪd"), ("$5.50,", "fˈaɪv dˈɑːlɚz ænd fˈɪfti sˈɛnts"),
        ("Dr.", "dˈɑːktɚ"), ("Who.", "hˈuː"),
    ]  # fmt: skip


def test_a_number_is_said_in_several_words() -> None:
    assert spoken(encode("a twenty-five, 25 and the 21st")) == [
        ("a", "ɐ"), ("twenty-five,", "twˈɛntifˈaɪv"), ("25", "twˈɛnti fˈaɪv"), ("and", "ænd"), ("the", "ðə"),
        ("21st", "twˈɛnti fˈɜːst"),
    ]  # fmt: skip


def test_words_that_espeak_joins_are_told_apart() -> None:
    clause = encode("One of the best of the apples, I am told.")
    assert spoken(clause) == [
        ("One", "wˈʌn"), ("of", "ʌv"), ("the", "ðə"), ("best", "bˈɛst"), ("of", "ʌv"), ("the", "ðɪ"),
        ("apples,", "ˈæpəlz"), ("I", "aɪ"), ("am", "ɐm"), ("told.", "tˈoʊld"),
    ]  # fmt: skip
    assert "ʌvðə bˈɛst" in signs(clause.ids).replace("_", "")  # and still said in one


def test_words_that_espeak_parts_stay_one() -> None:
    assert [text for text, _ in spoken(encode("McDonald saw the eBay CEO of the USA"))] == [
        "McDonald", "saw", "the", "eBay", "CEO", "of", "the", "USA",
    ]  # fmt: skip


def test_spans_follow_one_another() -> None:
    clause = encode("Call (555) 123-4567 at 3:05 p.m., one of the U.S. numbers — now, e.g. today.")
    ends = [(span.first_id, span.last_id) for span in clause.spans]
    assert all(first <= last for first, last in ends)
    assert all(a[1] < b[0] for a, b in zip(ends, ends[1:], strict=False))
    assert ends[-1][1] < len(clause.ids)


def test_inline_ipa_keeps_the_context_of_its_neighbours() -> None:
    assert spoken(encode("A [tomato](/təˈmɑːtoʊ/) please"))[:2] == [("A", "ɐ"), ("tomato", "təˈmɑːtoʊ")]


def test_other_spellings_of_a_sound_are_understood() -> None:
    encoder = PhonemeEncoder(make_voice())
    (clause,) = encoder.encode([Word("x", ipa="ʤg t͡ʃ")])
    assert spoken(clause) == [("x", "dʒɡ tʃ")]
    assert not encoder.unknown


def test_unknown_signs_are_counted() -> None:
    encoder = PhonemeEncoder(make_voice())
    encoder.encode([Word("x", ipa="aɧ⟨ɧ")])
    assert encoder.unknown == {"ɧ": 2, "⟨": 1}


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "😀", "— ,"])
def test_nothing_to_say_is_no_clause(text: str) -> None:
    assert PhonemeEncoder(make_voice()).encode(Reader("en-US").read(text)) == []


@pytest.mark.parametrize("text", ["1" * 280, "x" * 300, "word " * 60, "antidisestablishmentarianism" * 10])
def test_long_text_becomes_clauses_the_voice_can_hold(text: str) -> None:
    voice = make_voice(max_clause_ids=200)
    words = Reader("en-US").read(text)
    clauses = PhonemeEncoder(voice).encode(words)
    assert all(0 < len(clause.ids) <= 200 for clause in clauses)
    whole = PhonemeEncoder(make_voice(max_clause_ids=100_000)).encode(words)
    said = "".join(signs(clause.ids).strip("^_$") for clause in clauses)
    assert said.replace("_", "").replace(" ", "") == signs(whole[0].ids).strip("^$").replace("_", "").replace(
        " ", ""
    )


@pytest.mark.parametrize(
    ("espeak_voice", "language", "text"),
    [
        ("de", "de-DE", "Am 3. Oktober"),
        ("fr-fr", "fr-FR", "Bonjour à tous"),
        ("cmn", "zh-CN", "你好"),
        ("ar", "ar", "مرحبا"),
    ],
)
def test_other_languages_make_a_sound(espeak_voice: str, language: str, text: str) -> None:
    voice = make_voice(language=language, espeak_voice=espeak_voice)
    clauses = PhonemeEncoder(voice).encode(Reader(language).read(text))
    assert clauses and clauses[0].spans


def test_mixed_scripts_control_characters_and_emoji_make_a_sound() -> None:
    assert encode("Hello мир 世界 \x00\x1b 😀 नमस्ते").spans


def test_a_voice_without_frame_or_pad() -> None:
    voice = VoiceInfo(
        "v", "en-US", "en-us", 24_000, 1, "", "x", {s: (i,) for i, s in enumerate(SIGNS) if s not in "_^$"}
    )
    assert signs(encode("hi", voice).ids) == "hˈaɪ"


def test_an_unknown_language_says_so() -> None:
    with pytest.raises(ValueError, match="no voice"):
        encode("hi", make_voice(espeak_voice="xx-none"))
