"""Token policy of one request: what to ask the model next, when to stop, when to try again.

Pure: tokens and log probabilities in, questions out. The engine runs the model between the two.
"""

import zlib
from dataclasses import dataclass, field

from asr.engine.keyterms import KeytermBias
from asr.models.select import Ask, Choice

# Thresholds of Radford et al. (2022), section 4.5.
COMPRESSION_RATIO_MAX = 2.4
AVG_LOGPROB_MIN = -1.0
NO_SPEECH_MAX = 0.6
FALLBACK_TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)

TOKENS_PER_S = 16  # fast speech in a script of several tokens per character stays below
TOKENS_MARGIN = 24
_LOOP_TOKENS = 16  # a run of repeats this long is a loop
_LOOP_PERIOD_MAX = 24
_LOOP_REPEATS = 4
_REJOIN_TOKENS = 8  # how much of a guess may be left out where the text comes back to it


def token_limit(duration_s: float, room: int) -> int:
    """Most text tokens of a window; a runaway ends here. `room` is what the text context has left."""
    return max(0, min(room, int(duration_s * TOKENS_PER_S) + TOKENS_MARGIN))


def compression_ratio(text: str) -> float:
    """UTF-8 bytes per zlib byte; 0 for no text."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def loop_start(tokens: list[int]) -> int | None:
    """Index behind the first of the repeats at the end of `tokens`; None when the end is not a loop."""
    for period in range(1, min(_LOOP_PERIOD_MAX, len(tokens) // 2) + 1):
        repeats = max(_LOOP_REPEATS, -(-_LOOP_TOKENS // period))
        tail = period * repeats
        if len(tokens) >= tail and tokens[-tail:-period] == tokens[-tail + period :]:
            begin = len(tokens) - tail
            while begin >= period and tokens[begin - period : begin] == tokens[begin : begin + period]:
                begin -= period
            return begin + period
    return None


@dataclass(slots=True)
class Hypothesis:
    """A run of text tokens and how probable each was."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    forced: int = 0  # leading tokens that were given, not chosen
    end_logprob: float | None = None  # of the end token, once it came
    looped: bool = False

    @property
    def sum_logprob(self) -> float:
        return sum(self.logprobs[self.forced :]) + (self.end_logprob or 0.0)

    @property
    def avg_logprob(self) -> float:
        """Mean over the chosen tokens, end token included; 0 when none was chosen."""
        count = len(self.tokens) - self.forced + (self.end_logprob is not None)
        return self.sum_logprob / count if count else 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one attempt."""

    eot: int
    banned_first: tuple[int, ...]  # may not open the text
    limit: int  # most text tokens, forced ones included
    temperature: float = 0.0
    keyterms: KeytermBias | None = None

    def ask(self, tokens: list[int], *, best: int = 1, watched: int | None = None) -> Ask:
        """What to ask the logits that follow `tokens`."""
        return Ask(
            best=best,
            temperature=self.temperature,
            banned=() if tokens else self.banned_first,
            bias=self.keyterms.after(tokens) if self.keyterms else {},
            watched=watched,
        )


class Greedy:
    """One hypothesis, grown by its best (or a sampled) token; a guess is verified many tokens at a time."""

    rows_needed = 1

    def __init__(
        self, policy: Policy, prefix: tuple[int, ...], draft: tuple[int, ...], score_prefix: bool
    ) -> None:
        self._policy = policy
        self.best = Hypothesis(list(prefix), [0.0] * len(prefix), forced=len(prefix))
        self._draft = list(draft[: max(0, policy.limit - len(prefix))]) if policy.temperature == 0 else []
        self._passed = 0  # tokens of the draft that lie behind
        self._guess = self._draft  # of what follows, for the next step to verify
        self._score_prefix = score_prefix
        self.done = len(prefix) >= policy.limit

    def opening(self) -> tuple[list[int], int]:
        """Tokens to append behind the prompt, and how many of the last positions (prompt end included) to ask."""
        tokens = [*self.best.tokens, *self._draft]
        asked = 1 + len(self._draft) + (self.best.forced if self._score_prefix else 0)
        return tokens, asked

    def opening_asks(self) -> list[Ask]:
        """One question per asked position of `opening`."""
        tokens, asked = self.opening()
        first = len(tokens) - (asked - 1)
        return [
            self._policy.ask(tokens[:place], watched=tokens[place] if place < len(tokens) else None)
            for place in range(first, len(tokens) + 1)
        ]

    def open(self, choices: list[Choice]) -> int:
        """Takes the answers to `opening_asks`; returns how many appended tokens to take back (a wrong guess)."""
        forced = self.best.forced
        if self._score_prefix:
            self.best.logprobs = [choice.watched_logprob for choice in choices[:forced]]
            choices = choices[forced:]
        return self.take(choices)

    def pending(self) -> list[int]:
        """Tokens to append in the next step: the last one, and a guess of what follows."""
        return [self.best.tokens[-1], *self._guess]

    def asks(self) -> list[Ask]:
        """One question per token of `pending`."""
        tokens = [*self.best.tokens, *self._guess]
        return [self._policy.ask(tokens[:place]) for place in range(len(self.best.tokens), len(tokens) + 1)]

    def take(self, choices: list[Choice]) -> int:
        """Takes the answers to `asks`; returns how many appended tokens to take back (a wrong guess)."""
        guess = self._guess
        for index, choice in enumerate(choices):
            self.advance(choice)
            if self.done or index == len(guess) or guess[index] != choice.tokens[0]:
                self._passed += index
                self._guess = [] if self.done else self._rejoined()
                return len(guess) - index
        raise AssertionError("the last answer has no guess to agree with")

    def _rejoined(self) -> list[int]:
        """The rest of the draft, if the last token is one of those that come next in it.

        One changed word at the head of a long text would otherwise cost a step for every token behind it.
        """
        last = self.best.tokens[-1]
        near = self._draft[self._passed : self._passed + _REJOIN_TOKENS]
        if last not in near:
            return []
        self._passed += near.index(last) + 1
        return self._draft[self._passed : self._passed + self._policy.limit - len(self.best.tokens)]

    def advance(self, choice: Choice) -> None:
        """Takes one answer."""
        token, logprob, best = choice.tokens[0], choice.logprobs[0], self.best
        if token == self._policy.eot:
            best.end_logprob, self.done = logprob, True
            return
        best.tokens.append(token)
        best.logprobs.append(logprob)
        if (cut := loop_start(best.tokens)) is not None:
            cut = max(cut, best.forced)
            del best.tokens[cut:], best.logprobs[cut:]
            best.looped = self.done = True
        elif len(best.tokens) >= self._policy.limit:
            self.done = True


class Beam:
    """Beam search (length-normalised as in Radford et al.); one model row per live hypothesis."""

    def __init__(self, policy: Policy, prefix: tuple[int, ...], width: int) -> None:
        self._policy, self.rows_needed = policy, width
        self._live = [Hypothesis(list(prefix), [0.0] * len(prefix), forced=len(prefix))]
        self._finished: list[Hypothesis] = []
        self.done = len(prefix) >= policy.limit

    @property
    def live(self) -> list[Hypothesis]:
        return self._live

    @property
    def best(self) -> Hypothesis:
        """The finished (else live) hypothesis with the highest mean log probability."""
        return max(self._finished or self._live, key=lambda found: found.avg_logprob)

    def asks(self) -> list[Ask]:
        """One question per live hypothesis."""
        return [self._policy.ask(found.tokens, best=self.rows_needed + 1) for found in self._live]

    def advance(self, choices: list[Choice]) -> list[int]:
        """Takes one answer per live hypothesis; returns the index of each new one's parent, best first."""
        options = sorted(
            (
                (found.sum_logprob + logprob, parent, token, logprob)
                for parent, (found, choice) in enumerate(zip(self._live, choices, strict=True))
                for token, logprob in zip(choice.tokens, choice.logprobs, strict=True)
            ),
            reverse=True,
        )
        live: list[Hypothesis] = []
        parents: list[int] = []
        for _, parent, token, logprob in options:
            source = self._live[parent]
            grown = Hypothesis(source.tokens.copy(), source.logprobs.copy(), source.forced)
            if token == self._policy.eot:
                grown.end_logprob = logprob
                self._finished.append(grown)
            else:
                grown.tokens.append(token)
                grown.logprobs.append(logprob)
                if (cut := loop_start(grown.tokens)) is not None:
                    cut = max(cut, grown.forced)
                    del grown.tokens[cut:], grown.logprobs[cut:]
                    grown.looped = True
                    self._finished.append(grown)
                else:
                    live.append(grown)
                    parents.append(parent)
            if len(live) == self.rows_needed:
                break
        self._live = live or self._live
        full = len(self._live[0].tokens) >= self._policy.limit
        self.done = len(self._finished) >= self.rows_needed or full or not live
        return parents


def failed(found: Hypothesis, text: str) -> bool:
    """Whether a hypothesis is worth another try at a higher temperature."""
    if found.looped or compression_ratio(text) > COMPRESSION_RATIO_MAX:
        return True
    return found.avg_logprob < AVG_LOGPROB_MIN


def is_silence(found: Hypothesis, no_speech_prob: float) -> bool:
    """Whether the window holds no speech: the model says so and is unsure of what it wrote."""
    return no_speech_prob > NO_SPEECH_MAX and found.avg_logprob < AVG_LOGPROB_MIN
