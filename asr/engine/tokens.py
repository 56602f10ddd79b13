"""Whisper's tokens: special ids, text to tokens and back, words of a token run."""

import string
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from asr.model import Task

_UNSPACED = frozenset(
    {"zh", "ja", "th", "lo", "my", "yue", "km", "bo"}
)  # written without spaces between words
_PREPENDED = frozenset("\"'“¿([{-«„‘")
_APPENDED = frozenset("\"'.。,，!！?？:：;”)]}、»’%")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class WhisperTokens:
    """The tokenizer of one checkpoint. English-only checkpoints have other special ids and no language tokens."""

    def __init__(self, tokenizer: Tokenizer, *, multilingual: bool) -> None:
        """Finds the special tokens.

        Raises:
            ValueError: the tokenizer is not Whisper's.
        """
        self._tokenizer = tokenizer
        self.multilingual = multilingual
        self.eot = self._id("<|endoftext|>")
        self.sot = self._id("<|startoftranscript|>")
        self.transcribe, self.translate = self._id("<|transcribe|>"), self._id("<|translate|>")
        self.start_of_prev = self._id("<|startofprev|>")
        self.no_timestamps = self._id("<|notimestamps|>")
        self.no_speech = self._id("<|nospeech|>", "<|nocaptions|>")
        languages = range(self.sot + 1, min(self.transcribe, self.translate))
        self._language_ids = {self._piece(token).strip("<|>"): token for token in languages}
        self.languages = tuple(self._language_ids) if multilingual else ("en",)

    @classmethod
    def load(cls, path: Path, *, multilingual: bool) -> "WhisperTokens":
        """Reads a `tokenizer.json`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is not Whisper's.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is missing beside the checkpoint")
        return cls(Tokenizer.from_file(str(path)), multilingual=multilingual)

    def _id(self, *names: str) -> int:
        for name in names:
            if (found := self._tokenizer.token_to_id(name)) is not None:
                return int(found)
        raise ValueError(f"the tokenizer has no {names[0]} token")

    def _piece(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""

    @property
    def language_ids(self) -> dict[str, int]:
        """Language code to its token; empty for an English-only checkpoint."""
        return self._language_ids if self.multilingual else {}

    def start(self, language: str, task: Task) -> list[int]:
        """What text follows: <|startoftranscript|> [language, task] <|notimestamps|>."""
        if not self.multilingual:
            return [self.sot, self.no_timestamps]
        what = self.translate if task == "translate" else self.transcribe
        return [self.sot, self._language_ids[language], what, self.no_timestamps]

    def encode(self, text: str) -> list[int]:
        """Text tokens of `text`, which gets the leading space that starts a word."""
        text = text.strip()
        return self.encode_exactly(f" {text}") if text else []

    def encode_exactly(self, text: str) -> list[int]:
        """Text tokens of `text` as it stands; special tokens in it are spelled out, not obeyed."""
        ids: list[int] = self._tokenizer.encode(text.replace("<|", "< |"), add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text with its leading space; special tokens are left out, incomplete characters become U+FFFD."""
        return str(
            self._tokenizer.decode([token for token in ids if token < self.eot], skip_special_tokens=True)
        )

    def words(self, ids: Sequence[int], language: str) -> list[tuple[str, int]]:
        """Splits text tokens into words.

        Returns:
            (text with its leading space, number of tokens) in order; all tokens are covered. Punctuation belongs
            to the word it touches. Unspaced languages split at characters.
        """
        pieces = self._characters(ids)
        words: list[tuple[str, int]] = []
        for text, count in pieces:
            starts = text.startswith(" ") or not words or language in _UNSPACED
            mark = text.strip()
            if starts or (mark and mark in string.punctuation and words[-1][0].strip()):
                words.append((text, count))
            else:
                words[-1] = (words[-1][0] + text, words[-1][1] + count)
        return _attach_punctuation(words)

    def _characters(self, ids: Sequence[int]) -> list[tuple[str, int]]:
        """Smallest runs of tokens that decode to whole characters."""
        runs: list[tuple[str, int]] = []
        begin = 0
        for end in range(1, len(ids) + 1):
            text = self.decode(ids[begin:end])
            if _REPLACEMENT not in text or end == len(ids) or end - begin >= 8:
                runs.append((text, end - begin))
                begin = end
        return runs


def _attach_punctuation(words: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Opening marks join the word behind them, closing marks the word before them."""
    joined: list[tuple[str, int]] = []
    carried, carried_tokens = "", 0
    for text, count in words:
        mark = text.strip()
        opens = text.startswith(" ") and mark and all(char in _PREPENDED for char in mark)
        closes = mark and all(char in _APPENDED for char in mark) and not text.startswith(" ")
        if opens:
            carried, carried_tokens = carried + text, carried_tokens + count
        elif closes and joined and not carried:
            joined[-1] = (joined[-1][0] + text, joined[-1][1] + count)
        else:
            joined.append((carried + (text.lstrip() if carried else text), carried_tokens + count))
            carried, carried_tokens = "", 0
    if carried:
        joined.append((carried, carried_tokens))
    return joined
