"""Masks profane words: the first letter stays, asterisks follow. Whole words only, so Scunthorpe is safe."""

import re

# Stems of common English, German, French, Spanish, Italian and Portuguese swear words with the endings they take.
_WORDS = (
    r"(?:mother)?fuck(?:s|ed|er|ers|ing|in)?|(?:bull|horse|dip)?shit(?:s|ty|ting|ter|head|heads)?|"
    r"ass(?:hole|holes|es)?|bitch(?:es|ing|y)?|bastards?|cunts?|cock(?:sucker|suckers)|dick(?:head|heads)|"
    r"piss(?:ed|ing)?|wank(?:er|ers|ing)?|twats?|sluts?|whores?|bollocks|goddamn(?:ed)?|"
    r"schei(?:ß|ss)e?n?|arsch(?:loch|l[oö]cher)?|fick(?:en|er|t)?|hurensohn|wichser|fotzen?|"
    r"merde|putain|connard(?:e|s)?|salope?s?|encul[eé]s?|bordel|"
    r"mierda|puta?s?|cabr[oó]n(?:es)?|co[ñn]o|joder|pendejos?|gilipollas|"
    r"cazzo|stronz[oaie]|vaffanculo|puttana|porra|caralho|merda|foda-?se"
)
_PATTERN = re.compile(rf"\b(?:{_WORDS})\b", re.IGNORECASE)


def mask(text: str) -> str:
    """`text` with profane words masked; its length stays."""
    return _PATTERN.sub(lambda match: match[0][0] + "*" * (len(match[0]) - 1), text)
