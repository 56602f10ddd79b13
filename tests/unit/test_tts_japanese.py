"""Japanese text to words and sounds."""

import pytest

from common.errors import InvalidArgument
from tts.text import japanese, kana
from tts.text.kokoro import notation
from tts.text.reader import Reader


@pytest.fixture
def no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(japanese, "analyser", lambda: None)


@pytest.fixture
def dictionary() -> None:
    if japanese.analyser() is None:
        pytest.skip("pyopenjtalk is not installed (extra japanese)")


@pytest.mark.parametrize(
    ("written", "sound"),
    [
        ("トーキョー", "toːkʲoː"),
        ("ガッコー", "ɡaʔkoː"),
        ("シンブン", "ɕimbɯɴ"),
        ("ニンジャ", "ɲiɲʥa"),
        ("サンガツ", "saŋɡaʦɨ"),
        ("パーティー", "paːtiː"),
        ("ウィキ", "βikʲi"),
        ("チェック", "ʨeʔkɯ"),
        ("ひらがな", "çiɾaɡana"),
        ("ファ", "ɸa"),
        ("", ""),
        ("ーッン", "ʔɴ"),
        ("x-1", ""),
    ],
)
def test_kana_has_a_sound(written: str, sound: str) -> None:
    assert kana.ipa(written) == sound


def test_every_kana_has_a_sound() -> None:
    assert [sign for sign in map(chr, range(ord("ァ"), ord("ヴ") + 1)) if not kana.ipa(sign)] == list(
        "ャュョ"
    )


@pytest.mark.usefixtures("dictionary")
def test_words_keep_their_writing_and_get_their_reading() -> None:
    words = Reader("ja-JP").read("今日は2024年3月5日、学校へ行く。")
    assert "".join(word.written for word in words) == "今日は2024年3月5日、学校へ行く。"
    sounds = {word.written: word.ipa for word in words}
    assert sounds["今日"] == "kʲoː"
    assert sounds["は"] == "βa"
    assert sounds["へ"] == "e"
    assert sounds["2024"] == "ɲiseɲɲiʥɯːjo"
    assert [word.mark for word in words if word.mark] == [",", "."]


@pytest.mark.usefixtures("dictionary")
def test_latin_words_are_read_as_english() -> None:
    words = Reader("ja-JP").read("私はPythonが好き!")
    (python,) = [word for word in words if word.written == "Python"]
    assert python.spoken and not python.ipa
    assert words[-1].mark == "!"


def test_text_without_japanese_is_english() -> None:
    assert [word.spoken for word in Reader("ja-JP").read("It costs $3.")][-1] == "three dollars"


@pytest.mark.usefixtures("no_dictionary")
def test_without_a_dictionary_kana_alone_is_read() -> None:
    (word,) = Reader("ja-JP").read("こんにちは。")
    assert word.ipa == "koɲɲiʨiha" and word.mark == "."
    with pytest.raises(InvalidArgument, match="japanese"):
        Reader("ja-JP").read("学校")


@pytest.mark.usefixtures("dictionary")
@pytest.mark.parametrize(
    "text", ["々", "ヽヾ", "１２３ｱｲｳ", "㌔㌘", "日本" * 500, "あ゙か゚", "「」『』", "𠮷野家"]
)
def test_odd_text_is_read_or_silent(text: str) -> None:
    words = Reader("ja-JP").read(text)
    assert isinstance(words, list)


@pytest.mark.parametrize(
    ("ipa", "voice", "expected"),
    [
        ("aɪ tʃˈeɪndʒ ðə wˈɔːɾɚ", "en-us", "I ʧˈAnʤ ðə wˈɔTəɹ"),
        ("bˈɜːɹd", "en-us", "bˈɜɹd"),
        ("ɾaito", "", "ɾaito"),
        ("çiɾaɡana", "", "çiɾaɡana"),
    ],
)
def test_notation(ipa: str, voice: str, expected: str) -> None:
    assert notation(ipa, voice) == expected
