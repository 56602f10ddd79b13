"""English text as it is spoken: every number, sign and abbreviation in words.

Works on tokens, one spoken form for each written word, so that word times can name the words as they were written.
Other languages go to espeak-ng as they are, which reads their numbers by its own rules.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from roman_numerals import InvalidRomanNumeralError, RomanNumeral

from tts.text import abbreviations as abbr
from tts.text.addresses import read_address
from tts.text.amounts import MONTH_NAMES, RULES
from tts.text.numbers import cardinal, digits, ordinal
from tts.text.words import Token, Word, can_be_spoken

_LETTERS = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]?")
_PLURAL_ACRONYM = re.compile(r"([B-DF-HJ-NP-TV-Z][A-Z]{1,4}|[A-Z]{2,3})s")
_ROMAN = re.compile(r"[IVX]+|[IVXLCDM]{3,}")
_PLAIN = re.compile(r"[^\W\d_]+(?:['’‘.-][^\W\d_]+)*['’]?")
_RUNS = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+(?:['’][^\W\d_]+)*|\S")
_SLASH_DATE = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})$")
_SYMBOLS = {
    "&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
    "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about", "~": "about", "≤": "at most", "≥": "at least",
    "≠": "is not", "°": "degrees", "$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "§": "section", "√": "root of",
    "‰": "per mille", "/": "slash", "\\": "backslash", "∞": "infinity", "π": "pi",
}  # fmt: skip
_SHORT_FORMS = {
    "w/": "with",
    "w/o": "without",
    "b/c": "because",
    "c/o": "care of",
    "n/a": "not applicable",
    "and/or": "and or",
    "a/c": "A C",
}
_ABBREVIATIONS = frozenset(
    (*abbr.LEADING, *abbr.TRAILING, *abbr.MONTHS, *abbr.DAYS, *abbr.BEFORE_NUMBER, "w")
)
_COUNTED = frozenset(
    "act appendix article book chapter class episode figure final grade level part phase rocky schedule scene section"
    " stage step super table title type version volume war".split()
)
_MONARCHS = frozenset(
    "alexander alfonso benedict carlos catherine charles edward elizabeth felipe ferdinand francis frederick george"
    " gregory harald henry innocent ivan james john juan leo louis mary napoleon nicholas otto paul peter philip"
    " pius ramses richard robert rudolf sixtus urban victor wilhelm william".split()
)


def read_english(tokens: Sequence[Token], *, day_first: bool = False) -> list[Word]:
    """One word for each token; `day_first` reads 1/5/2024 as people outside the United States do."""
    if day_first:
        tokens = [replace(token, core=_SLASH_DATE.sub(r"\1.\2.\3", token.core)) for token in tokens]
    words: list[Word] = []
    while len(words) < len(tokens):
        i = len(words)
        words += [_word(tokens, i + k, spoken) for k, spoken in enumerate(_read(tokens, i))]
    return words


def read_other(tokens: Sequence[Token]) -> list[Word]:
    """Words as they are; a full stop after a number inside a sentence belongs to it ("3. Oktober")."""
    words = []
    for i, token in enumerate(tokens):
        ordinal_stop = token.tail == "." and token.core.isdecimal() and i + 1 < len(tokens)
        words.append(Word(token.written, token.written) if ordinal_stop else token.word(token.core))
    return words


def _word(tokens: Sequence[Token], i: int, spoken: str) -> Word:
    token = tokens[i]
    if token.tail == "." and i + 1 < len(tokens):
        following = tokens[i + 1].written[:1]
        if following.islower() or _is_abbreviation(token.core.lower(), before_number=following.isdecimal()):
            return Word(token.written, spoken)
    return token.word(spoken)


def _is_abbreviation(core: str, *, before_number: bool) -> bool:
    if core in abbr.BEFORE_NUMBER:
        return before_number
    return core in _ABBREVIATIONS or len(core) == 1 or _LETTERS.fullmatch(core) is not None


def _read(tokens: Sequence[Token], i: int) -> list[str]:
    """How the token and perhaps some after it are spoken."""
    core = tokens[i].core
    if core.isalpha() and core.islower() and core not in _ABBREVIATIONS:  # nearly every word
        return [core]
    if not can_be_spoken(core) and core not in _SYMBOLS:
        return [""]
    if any(char.isnumeric() for char in core):
        if core.startswith("#") and core[1:].isdecimal():
            return [f"number {cardinal(core[1:])}"]
        if core.startswith("~"):
            rest = [Token(tokens[i].written, "", core[1:], tokens[i].tail), *tokens[i + 1 : i + 3]]
            first, *others = _read(rest, 0)
            return [f"about {first}", *others]
        for rule in RULES:
            if (spoken := rule(tokens, i)) is not None:
                return spoken
    else:
        for rule in RULES[1:4]:  # a month, "EUR 5"
            if (spoken := rule(tokens, i)) is not None:
                return spoken
    return [_read_word(tokens, i)]


def _read_word(tokens: Sequence[Token], i: int) -> str:
    token = tokens[i]
    core = token.core
    if core in _SYMBOLS:
        return _read_symbol(tokens, i)
    if address := read_address(core):
        return address
    if short := _SHORT_FORMS.get(
        core.lower() + (token.tail if core.lower() == "w" and token.tail == "/" else "")
    ):
        return short
    if _LETTERS.fullmatch(core):
        known = abbr.LEADING.get(core.lower()) or abbr.TRAILING.get(core.lower())
        return known or core.upper().rstrip(".") + "."
    if expanded := _expand(tokens, i):
        return expanded
    if roman := _read_roman(tokens, i):
        return roman
    if match := _PLURAL_ACRONYM.fullmatch(core):
        return " ".join(match[1]) + "'s"
    if core == "A" and i > 0 and not tokens[i - 1].mark:
        return "A."  # the letter, not the article
    core = core.replace("²", " squared").replace("³", " cubed")
    if _PLAIN.fullmatch(core):
        return core.replace("’", "'").replace("‘", "'")
    return _mixed(core)


def _read_symbol(tokens: Sequence[Token], i: int) -> str:
    """A sign between two words; a slash or a tilde on its own is silent."""
    return "" if tokens[i].core in "/\\~" else _SYMBOLS[tokens[i].core]


def _expand(tokens: Sequence[Token], i: int) -> str:
    token = tokens[i]
    core, stop = token.core.lower(), token.tail.startswith(".")
    previous = tokens[i - 1].core if i else ""
    following = tokens[i + 1].core if i + 1 < len(tokens) else ""
    capital = token.core[:1].isupper()
    if core in abbr.BEFORE_NUMBER and stop and following[:1].isdecimal():
        return abbr.BEFORE_NUMBER[core]
    if core in ("st", "dr") and capital and (stop or following[:1].isupper()):
        if previous[:1].isupper() and not following[:1].isupper() or not following and previous:
            return "street" if core == "st" else "drive"
        return abbr.LEADING[core]
    if core in abbr.LEADING and (
        stop or capital and following[:1].isupper() and core in ("mr", "mrs", "ms", "prof")
    ):
        return abbr.LEADING[core] if capital or core in ("vs", "eg", "fig", "vol", "pp") else ""
    if core == "vs":
        return abbr.LEADING[core]
    if core in abbr.TRAILING and (stop or core == "etc"):
        return abbr.TRAILING[core]
    if capital and stop and (core in abbr.MONTHS or core in abbr.DAYS) and token.core not in MONTH_NAMES:
        return abbr.MONTHS.get(core) or abbr.DAYS[core]
    return ""


def _read_roman(tokens: Sequence[Token], i: int) -> str:
    """ "Louis XIV" the fourteenth, "World War II" two; a lone "I" is the pronoun."""
    core = tokens[i].core
    if not i or not _ROMAN.fullmatch(core) or tokens[i - 1].mark:
        return ""
    previous = tokens[i - 1].core
    counted, monarch = previous.lower() in _COUNTED, previous.lower() in _MONARCHS and previous[:1].isupper()
    if core in ("I", "V", "X") and not counted and not (monarch and core != "I"):
        return ""
    if not (counted or monarch or previous[:1].isupper() and set(core) <= set("IVX") and len(core) > 1):
        return ""
    try:
        number = int(RomanNumeral.from_string(core))
    except InvalidRomanNumeralError:
        return ""
    return f"the {ordinal(number)}" if monarch else cardinal(str(number))


def _mixed(core: str) -> str:
    """Anything else, run by run, so that no number or sign is lost: "B2B", "GPT-4", "and/or", "#speech"."""
    spoken = []
    for run in _RUNS.findall(core):
        if run[0].isdecimal():
            spoken.append(_short_number(run))
        elif run == "#":
            spoken.append("hashtag" if not spoken else "sharp")
        elif run == "/" and spoken and not any(char.isdecimal() for char in core):
            spoken.append("or")
        else:
            spoken.append(_SYMBOLS.get(run, run if run[0].isalpha() else ""))
    return " ".join(part for part in spoken if part)


def _short_number(run: str) -> str:
    """Numbers glued to letters: "H100" one hundred, "RTX4090" forty ninety, "A01" zero one."""
    plain = run.replace(",", "")
    if plain.isdecimal() and len(plain) == 4 and "," not in run and plain[2] != "0" and plain[0] != "0":
        return f"{cardinal(plain[:2])} {cardinal(plain[2:])}"
    if plain.isdecimal() and (len(plain) > 4 and "," not in run or plain.startswith("0") and len(plain) > 1):
        return digits(plain)
    return cardinal(plain)
