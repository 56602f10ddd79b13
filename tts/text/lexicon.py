"""A caller's own pronunciations: words and phrases that are spoken as told."""

from collections.abc import Iterable, Sequence

from common.errors import InvalidArgument
from tts.text.words import Token, Word, can_be_spoken

MAX_ENTRIES = 1_000
MAX_WORD_CHARS = 100
MAX_SOUND_CHARS = 300


class Lexicon:
    """Words with their sound: IPA between slashes ("/təˈmɑːtoʊ/") or a respelling ("tuh-MAY-toh")."""

    def __init__(self, entries: Iterable[tuple[str, str]] = ()) -> None:
        """Takes (word, pronunciation) pairs; of two for one word the later counts.

        Raises InvalidArgument for an empty or overlong entry and for more than MAX_ENTRIES.
        """
        self._sounds: dict[tuple[str, ...], str] = {}
        for count, (word, sound) in enumerate(entries, 1):
            if count > MAX_ENTRIES:
                raise InvalidArgument(f"at most {MAX_ENTRIES} pronunciations are accepted")
            key = tuple(_fold(part) for part in word.split())
            if not key or len(word) > MAX_WORD_CHARS:
                raise InvalidArgument(
                    f"pronunciation {count}: the word must have 1 to {MAX_WORD_CHARS} characters"
                )
            if not can_be_spoken(sound) or len(sound) > MAX_SOUND_CHARS:
                raise InvalidArgument(
                    f"pronunciation {count}: IPA between slashes or a respelling of at most {MAX_SOUND_CHARS} characters"
                    " is expected"
                )
            self._sounds[key] = sound.strip()
        self._longest = max(map(len, self._sounds), default=0)

    def find(self, tokens: Sequence[Token], i: int) -> list[Word]:
        """The words the longest entry at `i` covers, the sound on the first; [] when there is none."""
        for n in range(min(self._longest, len(tokens) - i), 0, -1):
            part = tokens[i : i + n]
            if sound := self._sounds.get(tuple(_fold(token.core) for token in part)):
                # The whole phrase is heard as one; it is written as it stood.
                written = " ".join(token.written for token in part)
                return [pronounced(written, sound, part[-1].mark)]
        return []


def pronounced(written: str, sound: str, mark: str = "") -> Word:
    """A word with a given sound."""
    if len(sound) > 2 and sound[0] == sound[-1] == "/":
        return Word(written, ipa=sound[1:-1], mark=mark)
    return Word(written, spoken=sound.lower(), mark=mark)


def _fold(word: str) -> str:
    return word.casefold().replace("’", "'")
