"""Which changes are asked for, in the spellings of every dialect."""

from dataclasses import dataclass

from common.errors import InvalidArgument
from edge.values import Fields, boolean, strings

MAX_TERMS = 100
MAX_PHRASES = 25
_PCI, _PII, _NUMBERS = "pci", "pii", "numbers"
# Deepgram's names of groups and of single kinds.
REDACT = {
    "pci": (_PCI,),
    "pii": (_PII,),
    "true": (_PCI, _PII),
    "numbers": (_NUMBERS,),
    "numerical_pii": (_PCI, _PII),
    "ssn": ("ssn",),
    "credit_card": ("credit_card",),
    "cvv": ("cvv",),
    "credit_card_expiration": ("expiry",),
    "email_address": ("email",),
    "phone_number": ("phone",),
    "bank_account": ("iban",),
    "false": (),
}
_GROUPS = {
    _PCI: ("credit_card", "cvv", "expiry", "iban"),
    _PII: ("phone", "email", "ssn", "iban", "ip_address"),
    _NUMBERS: ("credit_card", "number"),
}


@dataclass(frozen=True, slots=True)
class Finish:
    """Changes to finals; none by default.

    Attributes:
        redact: kinds of entities to take out: credit_card, cvv, expiry, iban, phone, email, ssn, ip_address, number.
        replace: pairs of a phrase and what to write for it.
        search: phrases to find.
        numerals: write numbers as digits.
    """

    redact: frozenset[str] = frozenset()
    replace: tuple[tuple[str, str], ...] = ()
    search: tuple[str, ...] = ()
    numerals: bool = False

    @property
    def changes(self) -> bool:
        """Whether any text may come out different."""
        return bool(self.redact or self.replace or self.numerals)


def finish_options(fields: Fields) -> Finish:
    """`redact`, `redact_pii`, `redact_pci`, `replace`, `search`, `numerals`; raises InvalidArgument."""
    groups: list[str] = []
    for name in strings(fields, "redact", max_items=MAX_TERMS):
        found = REDACT.get(name.lower())
        if found is None:
            accepted = ", ".join(name for name in REDACT if name not in ("true", "false"))
            raise InvalidArgument(f"redact must be one of: {accepted}", parameter="redact")
        groups += found
    groups += [_PII] if boolean(fields, "redact_pii", False) else []
    groups += [_PCI] if boolean(fields, "redact_pci", False) else []
    numerals = str(fields.get("numerals", "")).lower() != "auto" and boolean(fields, "numerals", False)
    return Finish(
        redact=frozenset(kind for group in groups for kind in _GROUPS.get(group, (group,))),
        replace=_pairs(fields),
        search=tuple(strings(fields, "search", max_items=MAX_PHRASES)),
        numerals=numerals
        or boolean(fields, "itn_normalize", False)
        or boolean(fields, "smart_format", False),
    )


def _pairs(fields: Fields) -> tuple[tuple[str, str], ...]:
    pairs = []
    for entry in strings(fields, "replace", max_items=MAX_TERMS):
        phrase, _, written = entry.partition(":")
        if not phrase.strip():
            raise InvalidArgument("replace must be `phrase:replacement`", parameter="replace")
        pairs.append((phrase.strip(), written.strip()))
    return tuple(pairs)
