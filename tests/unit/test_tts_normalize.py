"""How English text is read aloud."""

import pytest

from tts.text.normalize import read_english, read_other
from tts.text.words import Word, can_be_spoken, clean, spell_out, tokenize


def read(text: str) -> str:
    """The spoken words with the marks that are heard."""
    words = read_english(tokenize(clean(text)))
    return " ".join(word.spoken + word.mark for word in words if word.spoken or word.mark)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        # numbers
        ("I have 3 cats", "I have three cats"),
        ("1,234,567", "one million two hundred and thirty-four thousand five hundred and sixty-seven"),
        ("3.14 and .5 and -7", "three point one four and zero point five and minus seven"),
        ("007", "zero zero seven"),
        ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
        ("the 21st and 3rd", "the twenty-first and third"),
        ("in 1999, 2005 and 2024", "in nineteen ninety-nine, two thousand and five and twenty twenty-four"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("2,500 people", "two thousand five hundred people"),
        ("1/2 cup, 2 3/4 cups, ½, 2½", "one half cup, two and three quarters cups, one half, two and a half"),
        ("24/7 and 50/50", "twenty-four seven and fifty fifty"),
        ("5-10 or 2019–2021", "five to ten or twenty nineteen to twenty twenty-one"),
        ("16:9", "sixteen to nine"),
        ("v1.2.3 at 192.168.0.1", "version one point two point three at one hundred and ninety-two dot one hundred and sixty-eight dot zero dot one"),
        # money
        ("$5.50", "five dollars and fifty cents"),
        ("$1", "one dollar"),
        ("£0.99 or 10€", "ninety-nine pence or ten euros"),
        ("$5 million, €3.2bn", "five million dollars, three point two billion euros"),
        ("USD 20 or 5 EUR", "twenty dollars or five euros"),
        ("$10-20", "ten to twenty dollars"),
        ("-$5", "minus five dollars"),
        # dates and times
        ("January 5, 2024", "January fifth, twenty twenty-four"),
        ("on Oct. 3rd", "on October third"),
        ("5 May 2020", "the fifth of May twenty twenty"),
        ("1/5/2024", "January fifth twenty twenty-four"),
        ("25/12/2023", "December twenty-fifth twenty twenty-three"),
        ("2024-01-05", "January fifth twenty twenty-four"),
        ("2024-01-05T10:30:00Z", "January fifth twenty twenty-four at ten thirty"),
        ("3:05 p.m. or 9:00", "three oh five PM or nine o'clock"),
        ("5pm, 6 am, 14:30", "five PM, six AM, fourteen thirty"),
        # telephone
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("1-800-555-0199", "one, eight oh oh, five five five, oh one nine nine"),
        ("123-45-6789", "one two three, four five, six seven eight nine"),
        # measures
        ("3 km", "three kilometers"),
        ("1 km", "one kilometer"),
        ("5–10 km at 60mph", "five to ten kilometers at sixty miles per hour"),
        ("98.6°F and 10MB", "ninety-eight point six degrees Fahrenheit and ten megabytes"),
        ("5'10\" tall", "five foot ten tall"),
        ("10% or 5-10%", "ten percent or five to ten percent"),
        ("I live 3 in a room", "I live three in a room"),
        # abbreviations and names
        ("Dr. Smith and Mrs. Jones", "doctor Smith and missus Jones"),
        ("5 Main St. near St. Louis", "five Main street near saint Louis"),
        ("e.g. this, i.e. that", "for example this, that is that"),
        ("No. 5 is #1", "number five is number one"),
        ("no. We said no.", "no. We said no."),
        ("w/ and w/o", "with and without"),
        ("the U.S. and the A.I.", "the U.S. and the A.I.."),
        ("PCs and LLMs", "P C's and L L M's"),
        ("Louis XIV in World War II", "Louis the fourteenth in World War two"),
        ("Chapter IV, I am", "Chapter four, I am"),
        ("Malcolm X", "Malcolm X"),
        ("a CV for the DC MIX", "a CV for the DC MIX"),
        # addresses, tags, signs
        ("https://www.example.com/a_b", "www dot example dot com slash a underscore b"),
        ("john.doe@example.co.uk", "john dot doe at example dot co dot uk"),
        ("open main.py", "open main dot py"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("R&D, and/or, his/her", "R and D, and or, his or her"),
        ("B2B GPT-4 H100 RTX4090", "B two B GPT four H one hundred RTX forty ninety"),
        ("x² and C++", "x squared and C plus plus"),
        ("#speech by @anna", "hashtag speech by at anna"),
        # what writers of Markdown and chats leave behind
        ("**Bold** and `code`", "Bold and code"),
        ("## Heading", "Heading"),
        ("• bullet", "bullet"),
        ("so happy 😀🎉 today", "so happy today"),
        ("zero\u200bwidth\x00and\x07bells", "zerowidth and bells"),
        ("rock’n’roll isn’t", "rock'n'roll isn't"),
        ("yes — no", "yes ; no"),
    ],
)  # fmt: skip
def test_english_is_read_aloud(written: str, spoken: str) -> None:
    assert read(written) == spoken


@pytest.mark.parametrize(("day_first", "spoken"), [(False, "January fifth"), (True, "May first")])
def test_who_writes_the_day_first(day_first: bool, spoken: str) -> None:
    (word,) = read_english(tokenize("1/5/2024"), day_first=day_first)
    assert word == Word("1/5/2024", f"{spoken} twenty twenty-four")


def test_every_written_word_has_its_sound() -> None:
    """Word times name the words as they were written, so tokens and words pair up."""
    text = "Pay $5 million on January 5, 2024 at 3:05 p.m. — (555) 123-4567 or 2 1/2 km."
    tokens = tokenize(clean(text))
    words = read_english(tokens)
    assert [word.written for word in words] == [token.written for token in tokens]
    assert all(token.lead + token.core + token.tail == token.written for token in tokens)


def test_no_digit_survives() -> None:
    """espeak-ng would read it, but not always as meant; and digits have no sign in any voice."""
    text = "7/8ths 3D 4x4 1e9 0x1F 12:99 99/99/9999 1.2.3.4.5 ½¼ 5′ ٣ 50k $5k €1.5m 10- -10 1-2-3 #5a ²"
    assert not any(char.isdigit() for char in read(text))


def test_other_languages_are_left_to_espeak() -> None:
    words = read_other(tokenize("Am 3. Oktober kostet es 3,50 €."))
    assert [word.spoken for word in words] == ["Am", "3.", "Oktober", "kostet", "es", "3,50", "€"]
    assert words[-1].mark == "."


def test_symbols_have_names() -> None:
    assert spell_out("?!") == "question mark exclamation mark"
    assert spell_out("😀") == "grinning face"
    assert spell_out(" \n\x00") == ""
    assert not can_be_spoken("?! 😀 —") and can_be_spoken("?a")
