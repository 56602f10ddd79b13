"""The normaliser that every transcript goes through before it is scored."""

import pytest

from bench.text import error_rate, normalise


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Hale, don't!", "en", "mister hale dont"),
        ("In 1,000 days — um — 5%", "en", "in one thousand days five percent"),
        ("Größe: 3 Äpfel.", "de", "größe drei äpfel"),
        ("今日は、晴れ。", "ja", "今 日 は 晴 れ"),
        ("", "en", ""),
    ],
)
def test_only_what_is_heard_is_scored(text: str, language: str, expected: str) -> None:
    assert normalise(text, language) == expected


def test_the_rate_counts_words_over_all_pairs() -> None:
    assert error_rate(["a b c d", "e f"], ["a b x d", "e f"]) == pytest.approx(1 / 6)
