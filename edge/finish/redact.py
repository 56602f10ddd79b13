"""Redaction: personal and payment data become labels such as [CREDIT_CARD_1].

What has a shape or a checksum is found: cards (Luhn, ISO/IEC 7812), IBANs (mod 97, ISO 13616), phone numbers (the
phonenumbers library), e-mail and IP addresses, US social security numbers, and by the words around them security
codes and expiry dates. Names and street addresses have neither and are not found.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import phonenumbers

from edge.finish.digits import Run, runs
from edge.finish.edits import Edit, apart, bare

LABELS = {
    "credit_card": "CREDIT_CARD",
    "cvv": "CVV",
    "expiry": "EXPIRATION_DATE",
    "iban": "BANK_ACCOUNT",
    "phone": "PHONE_NUMBER",
    "email": "EMAIL_ADDRESS",
    "ssn": "SSN",
    "ip_address": "IP_ADDRESS",
    "number": "NUMBER",
}
_MIN_CARD, _MAX_CARD = 13, 19
_NEAR = 6  # tokens before a number that say what it is
_REGIONS = {
    "en": "US",
    "de": "DE",
    "fr": "FR",
    "es": "ES",
    "it": "IT",
    "pt": "BR",
    "nl": "NL",
    "ja": "JP",
    "hi": "IN",
}
_PHONE = re.compile(
    r"phone|call|mobile|cell|number|reach|telefon|nummer|handy|téléphone|numéro|teléfono|número|telefono|numero|celular"
)
_SSN = re.compile(r"ssn|social|security")
_CVV = re.compile(r"cvv|cvc|cv2|security|prüfnummer|cryptogramme")
_EXPIRY = re.compile(r"expir|exp\b|valid|gültig|ablauf|vence|scad")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)*\.[^\W\d_]{2,}")
_IP = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_LOCAL = re.compile(r"[\w+-]+")
_AT = {"at", "@", "arroba", "arobase", "chiocciola"}
_DOT = {"dot", "point", "punkt", "punto", "ponto", "."}
_MAX_EMAIL_TOKENS = 12

Finder = Callable[[Sequence[str], list[Run], str], Iterator[tuple[int, int, str]]]


class Redactor:
    """Numbers entities over a whole recording or stream: the same one has the same number."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._known: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def edits(self, tokens: Sequence[str], language: str) -> list[Edit]:
        """Edits that put labels in the place of entities; the most telling kind wins where two overlap."""
        said = runs(tokens, language)
        taken: set[int] = set()
        found: list[tuple[int, int, str, str]] = []
        for kind, finder in _FINDERS.items():
            if kind not in self._kinds:
                continue
            for first, last, value in finder(tokens, said, language):
                span = set(range(first, last))
                if not span & taken:
                    taken |= span
                    found.append((first, last, kind, value))
        return apart([Edit(one[0], one[1], self._label(one[2], one[3])) for one in sorted(found)])

    def _label(self, kind: str, value: str) -> str:
        label = self._known.get((kind, value))
        if label is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            label = self._known[kind, value] = f"[{LABELS[kind]}_{self._counts[kind]}]"
        return label


def veil(tokens: Sequence[str], language: str) -> list[Edit]:
    """For text that may still grow into an entity: every digit and address is hidden."""
    spans = [(run.first, run.last) for run in runs(tokens, language)]
    spans += [(index, index + 1) for index, token in enumerate(tokens) if "@" in token]
    spans += [(first, last) for first, last, _ in _emails(tokens, [], language)]
    return apart([Edit(first, last, "***") for first, last in spans])


def luhn(digits: str) -> bool:
    """The checksum of card numbers."""
    doubled = (2 * int(digit) if place % 2 else int(digit) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _cards(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for run in said:
        # Only whole groups: every second number of twenty digits holds some stretch with a good checksum.
        begins = [at for at, owner in enumerate(run.owners) if at == 0 or run.owners[at - 1] != owner]
        ends = [*begins[1:], len(run.owners)]
        free_from = 0
        for begin in begins:
            fitting = (end for end in reversed(ends) if _MIN_CARD <= end - begin <= _MAX_CARD)
            for end in fitting if begin >= free_from else ():
                digits = run.digits[begin:end]
                if digits[0] != "0" and luhn(digits):
                    yield run.owners[begin], run.owners[end - 1] + 1, digits
                    free_from = end
                    break


def _ssns(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for run in said:
        shaped = run.groups == (3, 2, 4) or (
            run.groups == (9,) and re.fullmatch(r"\d{3}[- ]\d{2}[- ]\d{4}", bare(tokens[run.owners[0]]))
        )
        if len(run.digits) == 9 and (shaped or _near(tokens, run, _SSN)):
            yield run.first, run.last, run.digits


def _phones(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    region = language[-2:].upper() if "-" in language else _REGIONS.get(language, "US")
    for run in said:
        if not 7 <= len(run.digits) <= 15:
            continue
        try:
            number = phonenumbers.parse(("+" if run.plus else "") + run.digits, None if run.plus else region)
            valid = phonenumbers.is_valid_number(number)
        except phonenumbers.NumberParseException:
            valid = False
        if valid or run.plus or _near(tokens, run, _PHONE):
            yield run.first, run.last, run.digits


def _security_codes(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for run in said:
        if len(run.digits) in (3, 4) and _near(tokens, run, _CVV):
            yield run.first, run.last, run.digits


def _expiries(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for run in said:
        if 3 <= len(run.digits) <= 6 and _near(tokens, run, _EXPIRY):
            yield run.first, run.last, run.digits


def _numbers(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for run in said:
        if len(run.digits) >= 3:
            yield run.first, run.last, run.digits


def _emails(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for index, token in enumerate(tokens):
        if _EMAIL.search(token):
            yield index, index + 1, bare(token).lower()
        elif bare(token).lower() in _AT:
            first, last = _spoken_email(tokens, index)
            if last > index + 1 and first < index:
                yield first, last, "".join(bare(one).lower() for one in tokens[first:last])


def _spoken_email(tokens: Sequence[str], at: int) -> tuple[int, int]:
    """Tokens around a spoken @: "john dot smith at example dot com"."""
    first = at
    if at and _LOCAL.fullmatch(bare(tokens[at - 1])):
        first = at - 1
        joins = _DOT | {"underscore", "dash", "hyphen", "minus", "plus"}
        while first >= 2 and bare(tokens[first - 1]).lower() in joins and at - first < _MAX_EMAIL_TOKENS:
            first -= 2
    last = at + 1
    if last < len(tokens) and "." in bare(tokens[last]):
        return first, last + 1
    while last + 2 < len(tokens) and bare(tokens[last + 1]).lower() in _DOT and last - at < _MAX_EMAIL_TOKENS:
        last += 2
    return first, last + 1 if last > at + 1 else at


def _ip_addresses(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for index, token in enumerate(tokens):
        text = bare(token)
        if _IP.fullmatch(text) and all(int(part) < 256 for part in text.split(".")):
            yield index, index + 1, text


def _ibans(tokens: Sequence[str], said: list[Run], language: str) -> Iterator[tuple[int, int, str]]:
    for first, token in enumerate(tokens):
        if not re.match(r"[A-Z]{2}\d{2}|[A-Z]{2}$", bare(token)):
            continue
        text = ""
        for last in range(first, min(first + 10, len(tokens))):
            text += re.sub(r"[\s-]", "", bare(tokens[last]))
            if _IBAN.fullmatch(text) and _mod97(text):
                yield first, last + 1, text
                break


def _mod97(iban: str) -> bool:
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1


def _near(tokens: Sequence[str], run: Run, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(token.lower()) for token in tokens[max(0, run.first - _NEAR) : run.first])


_FINDERS: dict[str, Finder] = {
    "credit_card": _cards,
    "iban": _ibans,
    "ssn": _ssns,
    "cvv": _security_codes,
    "expiry": _expiries,
    "email": _emails,
    "ip_address": _ip_addresses,
    "phone": _phones,
    "number": _numbers,
}
