"""One normaliser for every transcript that is scored, whoever wrote it, and the scores."""

import re
import unicodedata
from collections.abc import Sequence

import jiwer
from num2words import num2words

_UNSPACED = frozenset({"zh", "ja", "th", "yue"})
_FILLERS = re.compile(r"\b(uh|um|uhm|hmm|mhm|erm)\b")
_SHORT = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "okay": "ok", "per cent": "percent"}


def normalise(text: str, language: str = "en") -> str:
    """Lower case, no punctuation, digits in words, no fillers; unspaced languages one character per word."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = text.replace("%", " percent ").replace("&", " and ") if language == "en" else text
    text = re.sub(r"(?<=\d)[.,](?=\d{3}\b)", "", text)
    text = re.sub(r"\d+", lambda digits: _spell(digits.group(), language), text)
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"(?<=\w)'(?=\w)", "", text)
    text = "".join(" " if unicodedata.category(char)[0] in "PSZC" else char for char in text)
    if language == "en":
        text = _FILLERS.sub(" ", text)
        text = " ".join(_SHORT.get(word, word) for word in text.split())
    if language in _UNSPACED:
        text = " ".join(text.replace(" ", ""))
    return " ".join(text.split())


def _spell(digits: str, language: str) -> str:
    if len(digits) > 9:  # a number that long is read digit by digit
        return " ".join(_spell(digit, language) for digit in digits)
    try:
        return f" {num2words(int(digits), lang=language)} "
    except NotImplementedError:  # num2words does not know the language: both sides keep their digits
        return f" {digits} "


def error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Word error rate over all pairs of normalised texts."""
    return float(jiwer.wer(list(references), list(hypotheses)))
