"""English readings of what holds digits: money, measures, dates, times, telephone numbers, versions, fractions.

A rule looks at the tokens from `i` on and answers how each of the first few is spoken, or None when it does not apply.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

from tts.text.abbreviations import MONTHS
from tts.text.numbers import cardinal, digits, is_amount, ordinal, phone_digits, plural, year
from tts.text.units import (
    CURRENCY_CODES,
    CURRENCY_SYMBOLS,
    GLUED,
    GLUED_TO_NOTHING,
    MAGNITUDE_WORDS,
    MAGNITUDES,
    NEVER_APART,
    cent_name,
    currency_name,
    unit_name,
)
from tts.text.words import Token

Rule = Callable[[Sequence[Token], int], list[str] | None]

MONTH_NAMES = tuple(
    "January February March April May June July August September October November December".split()
)
_SYMBOLS = "|".join(sorted(map(re.escape, CURRENCY_SYMBOLS), key=len, reverse=True))
_NUMBER = r"\d[\d,]*(?:\.\d+)?|\.\d+"
_MONEY = re.compile(rf"([-−]?)({_SYMBOLS})([-−]?)({_NUMBER})(?:[-–]\2?({_NUMBER}))?(k|K|m|M|mn|bn|b|B|tn|T)?")
_MONEY_AFTER = re.compile(rf"([-−]?)({_NUMBER})({_SYMBOLS})")
_PERCENT = re.compile(rf"([-−+]?(?:{_NUMBER}))(?:[-–]({_NUMBER}))?%")
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?([AaPp])?\.?([Mm])?")
_HOUR = re.compile(r"(1[0-2]|0?[1-9])([AaPp])\.?[Mm]")
_ISO_DATE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}:\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[-+]\d{2}:?\d{2})?)?"
)
_DATE = re.compile(r"(\d{1,2})([/.])(\d{1,2})\2(\d{4}|\d{2})")
_ORDINAL = re.compile(r"(\d[\d,]*)(?:st|nd|rd|th)", re.IGNORECASE)
_DECADE = re.compile(r"((?:1\d|20)?\d0)['’]?s")
_RATIO = re.compile(r"(\d{1,4}):(\d{1,4})")
_FRACTION = re.compile(r"(\d{1,4})/(\d{1,4})")
_RANGE = re.compile(rf"({_NUMBER})[-–—]({_NUMBER})")
_FEET = re.compile(r"(\d{1,2})['’′](?:(\d{1,2})[\"”″]?)?")
_DOTTED = re.compile(r"[vV]?\d+(?:\.\d+){2,}")
_GROUPS = re.compile(r"\d+(?:-\d+){2,}")
_PHONE = re.compile(
    r"(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\)|\d{3})[ .-]?\d{3}[ .-]\d{4}|\d{3}-\d{4}|\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}"
)
_PHONE_START = re.compile(r"[+(]|\d{3}\D|\d{1,3}$|1-")
PHONE_MAX_TOKENS = 5
_DENOMINATORS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def phone(tokens: Sequence[Token], i: int) -> list[str] | None:
    if not _PHONE_START.match(tokens[i].written):
        return None
    for n in range(min(PHONE_MAX_TOKENS, len(tokens) - i), 0, -1):
        pieces = [token.lead + token.core for token in tokens[i : i + n]]
        pieces[:-1] = [token.written for token in tokens[i : i + n - 1]]
        if _PHONE.fullmatch(" ".join(pieces)) and sum(char.isdecimal() for char in "".join(pieces)) >= 7:
            spoken = [
                ", ".join(phone_digits(group) for group in re.findall(r"\d+", piece)) for piece in pieces
            ]
            return [f"{piece}," for piece in spoken[:-1]] + spoken[-1:]
    return None


def money(tokens: Sequence[Token], i: int) -> list[str] | None:
    core, following = tokens[i].core, tokens[i + 1].core if i + 1 < len(tokens) else ""
    if match := _MONEY.fullmatch(core):
        sign, symbol, minus, low, high, magnitude = match.groups()
        spoken = ("minus " if sign or minus else "") + (f"{cardinal(low)} to " if high else "")
        code, amount = CURRENCY_SYMBOLS[symbol], high or low
        if following.lower() in MAGNITUDE_WORDS and not magnitude:
            return [spoken + cardinal(amount), f"{following.lower()} {currency_name(code, one=False)}"]
        if magnitude:
            return [f"{spoken}{cardinal(amount)} {MAGNITUDES[magnitude]} {currency_name(code, one=False)}"]
        return [spoken + _sum(code, amount)]
    if match := _MONEY_AFTER.fullmatch(core):
        return [("minus " if match[1] else "") + _sum(CURRENCY_SYMBOLS[match[3]], match[2])]
    if is_amount(core) and (following in CURRENCY_CODES or following in CURRENCY_SYMBOLS):
        code = CURRENCY_SYMBOLS.get(following, following)
        return [cardinal(core), currency_name(code, one=core == "1")]
    if core in CURRENCY_CODES and is_amount(following):
        return [cardinal(following), currency_name(core, one=following == "1")]
    return None


def _sum(code: str, amount: str) -> str:
    whole, _, fraction = amount.partition(".")
    if len(fraction) != 2:
        return f"{cardinal(amount)} {currency_name(code, one=amount == '1')}"
    units = f"{cardinal(whole)} {currency_name(code, one=whole == '1')}" if whole.strip("0,") else ""
    cents = int(fraction)
    small = f"{cardinal(str(cents))} {cent_name(code, one=cents == 1)}" if cents else ""
    return " and ".join(part for part in (units, small) if part) or f"zero {currency_name(code, one=False)}"


def percent(tokens: Sequence[Token], i: int) -> list[str] | None:
    if match := _PERCENT.fullmatch(tokens[i].core):
        low, high = match.groups()
        return [cardinal(low) + (f" to {cardinal(high)}" if high else "") + " percent"]
    return None


def clock(tokens: Sequence[Token], i: int) -> list[str] | None:
    following = tokens[i + 1].core.lower().replace(".", "") if i + 1 < len(tokens) else ""
    half = following.upper() if following in ("am", "pm") else ""
    core = tokens[i].core
    if match := _HOUR.fullmatch(core):
        return [f"{cardinal(match[1].lstrip('0'))} {match[2].upper()}M"]
    if half and core.isdecimal() and 1 <= int(core) <= 12:
        return [cardinal(core.lstrip("0")), half]
    match = _TIME.fullmatch(core)
    if match is None:
        return None
    hour, minute, second, glued, _ = match.groups()
    spoken = cardinal(str(int(hour)))
    if int(minute):
        spoken += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    elif not (half or glued):
        spoken += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if second and int(second):
        spoken += f" and {cardinal(str(int(second)))} second" + ("s" if int(second) != 1 else "")
    if glued:
        return [f"{spoken} {glued.upper()}M"]
    return [spoken, half] if half else [spoken]


def date(tokens: Sequence[Token], i: int) -> list[str] | None:
    core = tokens[i].core
    if match := _ISO_DATE.fullmatch(core):
        day_spoken = _date(int(match[3]), int(match[2]), match[1])
        at = clock([Token("", "", match[4], "")], 0) if match[4] else None
        return [f"{day_spoken[0]} at {at[0]}"] if day_spoken and at else day_spoken
    if match := _DATE.fullmatch(core):
        first, second = int(match[1]), int(match[3])
        # Month first as in the United States, unless the separator or the number says otherwise.
        day, month = (first, second) if match[2] == "." or first > 12 else (second, first)
        return _date(day, month, match[4])
    month_name = _month(tokens[i])
    if (
        month_name
        and tokens[i].tail in ("", ".")
        and i + 1 < len(tokens)
        and (day_match := re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)?", tokens[i + 1].core))
    ):
        if 1 <= int(day_match[1]) <= 31:
            return [month_name, ordinal(int(day_match[1]))]
    if (
        core.isdecimal()
        and len(core) <= 2
        and 1 <= int(core) <= 31
        and i + 1 < len(tokens)
        and _month(tokens[i + 1])
    ):
        article = "" if i and tokens[i - 1].core.lower() == "the" else "the "
        return [f"{article}{ordinal(int(core))} of", _month(tokens[i + 1])]
    return None


def _date(day: int, month: int, written_year: str) -> list[str] | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    number = int(written_year)
    spoken = (
        year(number)
        if len(written_year) == 4
        else f"oh {cardinal(str(number))}"
        if number < 10
        else cardinal(written_year)
    )
    return [f"{MONTH_NAMES[month - 1]} {ordinal(day)} {spoken}"]


def _month(token: Token) -> str:
    if token.core in MONTH_NAMES:
        return token.core
    return MONTHS.get(token.core.lower(), "") if token.core[:1].isupper() else ""


def measure(tokens: Sequence[Token], i: int) -> list[str] | None:
    core, following = tokens[i].core, tokens[i + 1].core if i + 1 < len(tokens) else ""
    if (match := _FEET.fullmatch(core)) and (match[2] or core[-1] == "′"):
        return [f"{cardinal(match[1])} foot" + (f" {cardinal(match[2])}" if match[2] else "")]
    match = GLUED.fullmatch(core)
    if match and is_amount(match[1]) and match[2] not in GLUED_TO_NOTHING:
        return [f"{cardinal(match[1])} {unit_name(match[2], one=match[1] == '1')}"]
    if (
        not tokens[i].tail
        and following not in NEVER_APART
        and (name := unit_name(following, one=core == "1"))
    ):
        if is_amount(core):
            return [cardinal(core), name]
        if ends := _RANGE.fullmatch(core):
            return [f"{cardinal(ends[1])} to {cardinal(ends[2])}", name]
    return None


def decade(tokens: Sequence[Token], i: int) -> list[str] | None:
    if match := _DECADE.fullmatch(tokens[i].core):
        spoken = year(int(match[1])) if len(match[1]) == 4 else cardinal(match[1])
        head, _, last = spoken.rpartition(" ")
        return [f"{head} {plural(last)}".strip()]
    return None


def fraction(tokens: Sequence[Token], i: int) -> list[str] | None:
    core = tokens[i].core
    if core == "24/7":
        return ["twenty-four seven"]
    if core == "9/11":
        return ["nine eleven"]
    after_number = i > 0 and tokens[i - 1].core.isdecimal() and not tokens[i - 1].tail
    if core and unicodedata.category(core[-1]) == "No" and (spoken := _vulgar(core[-1])):
        if core[:-1].isdecimal():
            return [f"{cardinal(core[:-1])} {_after(True, spoken)}"]
        return [_after(after_number, spoken)] if len(core) == 1 else None
    match = _FRACTION.fullmatch(core)
    if match is None:
        return None
    return [_after(after_number, _fraction(int(match[1]), int(match[2])))]


def _after(number: bool, spoken: str) -> str:
    """ "one half" alone, "and a half" after a whole number."""
    return (
        f"and a {spoken.removeprefix('one ')}"
        if number and spoken.startswith("one ")
        else f"and {spoken}"
        if number
        else spoken
    )


def _vulgar(char: str) -> str:
    parts = re.findall(r"\d+", unicodedata.normalize("NFKD", char).replace("⁄", " "))
    return _fraction(int(parts[0]), int(parts[1])) if len(parts) == 2 else ""


def _fraction(top: int, bottom: int) -> str:
    if top == bottom:
        return f"{cardinal(str(top))} {cardinal(str(bottom))}"
    if not 2 <= bottom <= 100 or top > 100:
        return f"{cardinal(str(top))} over {cardinal(str(bottom))}"
    one, many = _DENOMINATORS.get(bottom, (ordinal(bottom), ordinal(bottom) + "s"))
    return f"one {one}" if top == 1 else f"{cardinal(str(top))} {many}"


def series(tokens: Sequence[Token], i: int) -> list[str] | None:
    """Ordinals, ratios, ranges, versions, identifiers and plain numbers."""
    core = tokens[i].core
    if match := _ORDINAL.fullmatch(core):
        return [ordinal(int(match[1].replace(",", "")))]
    if match := _RATIO.fullmatch(core):
        return [f"{cardinal(match[1])} to {cardinal(match[2])}"]
    if match := _RANGE.fullmatch(core):
        return [f"{_number(match[1])} to {_number(match[2])}"]
    if _DOTTED.fullmatch(core):
        joint = " dot " if core.count(".") == 3 else " point "
        version = "version " if core[0] in "vV" else ""
        return [version + joint.join(cardinal(part) for part in core.lstrip("vV").split("."))]
    if _GROUPS.fullmatch(core):
        return [", ".join(digits(group) for group in core.split("-"))]
    if not is_amount(core):
        return None
    return [_number(core)]


def _number(core: str) -> str:
    """1900 to 2099 without a separator is a year more often than an amount, and is understood as either."""
    return (
        year(int(core))
        if len(core) == 4 and core.isdecimal() and 1100 <= int(core) <= 2099
        else cardinal(core)
    )


RULES: tuple[Rule, ...] = (phone, date, clock, money, percent, fraction, decade, measure, series)
