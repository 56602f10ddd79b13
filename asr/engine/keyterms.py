"""Favouring given words: shallow fusion of phrase continuations on the logits."""

from collections.abc import Callable, Sequence

from asr.model import Keyterm

_START_SHARE = 0.3  # of the weight goes to the first token: it alone must not conjure up a phrase
_START_MAX = 2.5
_CONTINUE_MAX = 8.0  # nats
_TOKENS_MAX = 16


class KeytermBias:
    """Offsets for the tokens that begin or continue a phrase.

    Args:
        terms: phrases and weights; a negative weight pushes the first token away.
        encode: text to tokens, exactly as it stands.
    """

    def __init__(self, terms: Sequence[Keyterm], encode: Callable[[str], list[int]]) -> None:
        self._starts: dict[int, float] = {}
        self._next: dict[tuple[int, ...], dict[int, float]] = {}
        self._depth = 1
        for term in terms:
            phrase = term.phrase.strip()
            for spelling in {f" {phrase}", f" {phrase[:1].upper()}{phrase[1:]}"} if phrase else ():
                self._add(tuple(encode(spelling))[:_TOKENS_MAX], term.weight)

    def _add(self, ids: tuple[int, ...], weight: float) -> None:
        if weight < 0:
            self._starts[ids[0]] = max(weight, -_CONTINUE_MAX)
            return
        start = min(weight * _START_SHARE, _START_MAX)
        self._starts[ids[0]] = max(start, self._starts.get(ids[0], 0.0))
        for done in range(1, len(ids)):
            follow = self._next.setdefault(ids[:done], {})
            follow[ids[done]] = max(min(weight, _CONTINUE_MAX), follow.get(ids[done], 0.0))
            self._depth = max(self._depth, done)

    def after(self, tokens: Sequence[int]) -> dict[int, float]:
        """Offset of each favoured token behind `tokens`."""
        bias = dict(self._starts)
        for length in range(1, min(self._depth, len(tokens)) + 1):
            for token, weight in self._next.get(tuple(tokens[-length:]), {}).items():
                bias[token] = max(weight, bias.get(token, 0.0))
        return bias
