"""One stretch of speech while its text is being worked out."""

from dataclasses import dataclass, field, replace
from enum import Enum, auto

import numpy as np

from asr.live.agreement import TextOf, agreed
from asr.live.context import Lead
from asr.live.tuning import StreamOptions
from asr.model import DecodeRequest, DecodeResult, Pcm


class Aim(Enum):
    """What a decode is for."""

    INTERIM = auto()  # news while somebody speaks
    FINAL = (
        auto()
    )  # everything said, at full quality; started in a pause already, so that it is there in time
    CUT = auto()  # a long stretch: word times, to close its head


@dataclass(slots=True, eq=False)
class Utterance:
    """The window that is being decoded, [start, end) in samples of the stream."""

    start: int  # of the window, a little before the speech
    speech_start: int  # as reported
    paused_at: int | None = None  # where speech stopped; None while it goes on
    end: int | None = None  # set when closed
    tail: Pcm = field(
        default_factory=lambda: np.empty(0, np.float32)
    )  # samples after `end`, less than a chunk
    speech_final: bool = False
    from_flush: bool = False

    committed: tuple[int, ...] = ()  # tokens that stay
    hypothesis: tuple[int, ...] = ()  # tokens of the last decode, the committed ones included
    earlier: list[tuple[int, tuple[int, ...]]] = field(
        default_factory=list
    )  # window ends and their hypotheses
    heard: int = 0  # end of the last decoded window
    shown: tuple[str, str] = ("", "")  # text and committed text of the last interim
    interim_due_s: float = 0.0  # clock time before which no further interim starts
    cut_after: int = 0  # no further attempt to cut before the window ends here
    last: "Decoded | None" = None  # latest decode of FINAL aim
    cautious: bool = False  # only on its own and with its committed words is it read to its end

    @property
    def closed(self) -> bool:
        return self.end is not None

    @property
    def complete(self) -> bool:
        """Closed, and the last decode heard all of it."""
        return self.end is not None and self.last is not None and self.last.job.end >= self.end

    def agree(
        self, end: int, tokens: tuple[int, ...], *, before: int, commits: bool, text_of: TextOf
    ) -> None:
        """Takes the hypothesis of the window up to `end`, which begins with the committed tokens.

        What it has in common with the last one whose window ended at `before` or earlier is committed, if it `commits`.
        """
        settled = [entry for entry in self.earlier if entry[0] <= before]
        n = agreed(settled[-1][1], tokens, text_of) if settled else 0
        if commits and n > len(self.committed):
            self.committed = tokens[:n]
        self.hypothesis = tokens
        self.earlier = [*settled[-1:], *self.earlier[len(settled) :], (end, tokens)]

    def move(self, start: int, rest: tuple[int, ...], committed: tuple[int, ...] = ()) -> None:
        """Its head was said as a final: goes on from `start` with the rest of the hypothesis."""
        self.start = self.speech_start = start
        self.committed, self.hypothesis = committed, rest
        self.shown, self.last, self.cut_after = ("", ""), None, 0
        self.earlier = [(self.heard, rest)] if rest else []


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A decode to run. `end` is where its window ends in the stream (the tail counts)."""

    aim: Aim
    utterance: Utterance
    request: DecodeRequest
    start: int
    end: int
    begun_s: float  # clock time
    lead: Lead | None = None  # what the window of the request holds before `start`


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A finished job."""

    job: Job
    result: DecodeResult


def make_request(
    utterance: Utterance, aim: Aim, pcm: Pcm, lead: Lead | None, language: str, options: StreamOptions
) -> DecodeRequest:
    """The decode of an utterance's window, float32 [n]: quick and greedy for interims, as asked for finals.

    Committed words bind what comes before the end: the final is read afresh, by a model that has heard all of it.
    The samples of `lead` are part of the window.
    """
    template, quick = options.template, aim is Aim.INTERIM
    bound = () if aim is Aim.FINAL and not utterance.cautious else utterance.committed
    return replace(
        template,
        pcm=pcm,
        language=language,
        prefix=(*(lead.tokens if lead else ()), *bound),
        draft=utterance.hypothesis[len(bound) :],
        word_times=aim is Aim.CUT or (aim is Aim.FINAL and (template.word_times or options.max_words > 0)),
        temperature=0.0 if quick else template.temperature,
        beam_size=1 if quick else template.beam_size,
        fallback=aim is Aim.FINAL,
        interim=quick,
    )
