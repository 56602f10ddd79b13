"""Katakana to IPA in the notation Kokoro was trained on (narrow: palatalised consonants, ɨ after sibilants)."""

_VOWELS = {"a": "a", "i": "i", "u": "ɯ", "e": "e", "o": "o"}
_ROWS = {
    "": "アイウエオ", "k": "カキクケコ", "ɡ": "ガギグゲゴ", "s": "サシスセソ", "ʣ": "ザジズゼゾ", "t": "タチツテト", "d": "ダヂヅデド",
    "n": "ナニヌネノ", "h": "ハヒフヘホ", "b": "バビブベボ", "p": "パピプペポ", "m": "マミムメモ", "ɾ": "ラリルレロ",
}  # fmt: skip
_OWN = {
    "シ": "ɕi", "ス": "sɨ", "ジ": "ʥi", "ズ": "zɨ", "チ": "ʨi", "ツ": "ʦɨ", "ヂ": "ʥi", "ヅ": "zɨ", "ニ": "ɲi", "ヒ": "çi", "フ": "ɸɯ",
    "ヤ": "ja", "ユ": "jɯ", "ヨ": "jo", "ワ": "βa", "ヰ": "i", "ヱ": "e", "ヲ": "o", "ヴ": "vɯ",
}  # fmt: skip
_SMALL = {"ァ": "a", "ィ": "i", "ゥ": "ɯ", "ェ": "e", "ォ": "o", "ヮ": "βa"}
_SMALL_Y = {"ャ": "a", "ュ": "ɯ", "ョ": "o"}
_LONG, _STOP, _NASAL = "ー", "ッ", "ン"
_BEFORE = {
    "m": "mpb",
    "ŋ": "kɡ",
    "ɲ": "ɲʨʥ",
    "n": "ntdɾʣʦz",
}  # what the nasal becomes, by the sound that follows


def _table() -> dict[str, str]:
    table = {}
    for consonant, row in _ROWS.items():
        for sign, vowel in zip(row, "aiueo", strict=True):
            palatal = "ʲ" if vowel == "i" and consonant else ""
            table[sign] = consonant + palatal + _VOWELS[vowel]
    return table | _OWN


_SOUNDS = _table()


def to_katakana(text: str) -> str:
    """Hiragana in `text` as katakana."""
    return "".join(chr(ord(char) + 0x60) if "ぁ" <= char <= "ゖ" else char for char in text)


def is_kana(text: str) -> bool:
    """Whether it is written in kana alone, so that its sound is known without a dictionary."""
    return all("ぁ" <= char <= "ゖ" or "ァ" <= char <= "ー" for char in text)


def ipa(kana: str) -> str:
    """The sound of kana; other characters are silent."""
    sounds: list[str] = []
    for sign in to_katakana(kana):
        before = sounds[-1] if sounds else ""
        if sign in _SMALL_Y and before:
            sounds[-1] = _palatal(before) + _SMALL_Y[sign]
        elif sign in _SMALL and before:
            sounds[-1] = ("β" if before == "ɯ" else before[:-1]).replace("ʲ", "") + _SMALL[sign]
        elif sign == _LONG:
            sounds.append("ː" if before else "")
        else:
            sounds.append({_STOP: "ʔ", _NASAL: _NASAL}.get(sign, _SOUNDS.get(sign) or _SMALL.get(sign, "")))
    heard = "".join(sounds)
    return "".join(char if char != _NASAL else _nasal(heard[i + 1 : i + 2]) for i, char in enumerate(heard))


def _palatal(sound: str) -> str:
    """The consonant of a syllable, palatalised: the first half of キャ."""
    consonant = sound[:-1]
    return consonant if consonant.endswith(("ʲ", "ɕ", "ʥ", "ʨ", "ɲ", "ç")) else consonant + "ʲ"


def _nasal(following: str) -> str:
    return next((nasal for nasal, sounds in _BEFORE.items() if following and following in sounds), "ɴ")
