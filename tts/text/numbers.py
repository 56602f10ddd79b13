"""Numbers in English words; the words themselves come from num2words."""

import re
from functools import lru_cache

from num2words import num2words

_AMOUNT = re.compile(r"[-−+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-−+]?\d*\.?\d+")
# Longer runs of digits are names (card numbers, identifiers), not amounts.
MAX_CARDINAL_DIGITS = 15


def is_amount(text: str) -> bool:
    """Whether it is one number: digits, thousands separators, a decimal point, a sign."""
    return _AMOUNT.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def cardinal(text: str) -> str:
    """ "1,234.5" -> "one thousand two hundred and thirty-four point five". Takes what `is_amount` accepts."""
    text = text.replace(",", "")
    sign = {"-": "minus ", "−": "minus ", "+": "plus "}.get(text[0], "")
    whole, _, fraction = text.lstrip("-−+").partition(".")
    if len(whole) > MAX_CARDINAL_DIGITS or len(whole) > 1 and whole.startswith("0") and not fraction:
        return sign + digits(whole) + (f" point {digits(fraction)}" if fraction else "")
    spoken = _plain(num2words(int(whole or "0")))
    return sign + spoken + (f" point {digits(fraction)}" if fraction else "")


@lru_cache(maxsize=1024)
def ordinal(number: int) -> str:
    """21 -> "twenty-first"."""
    return _plain(num2words(number, to="ordinal"))


@lru_cache(maxsize=1024)
def year(number: int) -> str:
    """1999 -> "nineteen ninety-nine", 2005 -> "two thousand and five", 1900 -> "nineteen hundred"."""
    if number % 1000 < 10 or not 1000 <= number <= 2099:
        return cardinal(str(number))
    century, rest = divmod(number, 100)
    ending = "hundred" if rest == 0 else f"oh {cardinal(str(rest))}" if rest < 10 else cardinal(str(rest))
    return f"{cardinal(str(century))} {ending}"


def digits(text: str) -> str:
    """One word per digit, "0" as "zero"; other characters are dropped."""
    return " ".join(num2words(int(char)) for char in text if char.isdecimal())


def phone_digits(text: str) -> str:
    """One word per digit, "0" as "oh"."""
    return digits(text).replace("zero", "oh")


def plural(word: str) -> str:
    """ "ninety" -> "nineties", "six" -> "sixes"."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("x", "s", "ch")) else "s")


def _plain(words: str) -> str:
    return words.replace(",", "")
