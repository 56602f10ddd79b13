"""Web and mail addresses, file names and handles, as English speakers read them aloud."""

import re

from tts.text.numbers import cardinal, digits

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# Labels of two or more characters, so that "U.S" and "e.g" are not names; "end.Next" is a missing space.
_DOTTED = re.compile(r"[\w-]{2,}(?:\.[a-z0-9][\w-]+)+(?:[/?#:]\S*)?")
_NAMES = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "\\": "backslash",
}  # fmt: skip


def read_address(core: str) -> str:
    """ "https://www.example.com/a" -> "www dot example dot com slash a"; "" when it is no address."""
    without_scheme = _SCHEME.sub("", core)
    if without_scheme != core or _EMAIL.fullmatch(core) or _is_dotted(core) or core.startswith("www."):
        return _spell(without_scheme.rstrip("/"))
    return ""


def _is_dotted(core: str) -> bool:
    return _DOTTED.fullmatch(core) is not None and any(char.isalpha() for char in core.partition("/")[0])


def _spell(address: str) -> str:
    spoken = []
    for piece in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", address):
        if piece.isdecimal():
            spoken.append(digits(piece) if len(piece) > 2 or piece.startswith("0") else cardinal(piece))
        else:
            spoken.append(_NAMES.get(piece, piece))
    return " ".join(spoken)
