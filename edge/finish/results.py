"""The changes in their order, over a finished transcript or a live stream."""

import copy
from collections.abc import Sequence
from dataclasses import replace

from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result
from edge.finish.digits import runs
from edge.finish.edits import Edit, apart, apply, tokens_of
from edge.finish.numerals import numerals
from edge.finish.options import Finish
from edge.finish.redact import Redactor, veil
from edge.finish.search import replacements
from edge.listening.requests import Transcript

# A number that a pause cuts in two: the part that is known already may be half of a card.
_CUT_DIGITS = 4


def finish_transcript(result: Transcript, finish: Finish) -> Transcript:
    """The transcript with all changes; what spans two stretches of a channel is found as well."""
    if not finish.changes:
        return result
    redactor = Redactor(finish.redact)
    done: dict[int, Result] = {}
    for channel in sorted({one.channel for one in result.results}):
        places = [place for place, one in enumerate(result.results) if one.channel == channel]
        changed = _changed([result.results[place] for place in places], finish, redactor, result.language)
        done |= dict(zip(places, changed, strict=True))
    return replace(result, results=[done[place] for place in range(len(result.results))])


class LiveFinisher:
    """The changes to a live stream. Nothing that would be redacted from a final shows in an interim before it."""

    def __init__(self, finish: Finish, language: str) -> None:
        self._finish, self._language = finish, language
        self._redactor = Redactor(finish.redact)

    def event(self, response: RecognizeResponse) -> RecognizeResponse:
        """The event as the client should see it."""
        result = response.result
        if result is None or not self._finish.changes:
            return response
        language = result.language or self._language
        if result.is_final:
            changed = _changed([result], self._finish, self._redactor, language)[0]
            if self._finish.redact & {"credit_card", "iban"}:
                changed = _hide_cut_numbers(changed, language)
        elif self._finish.redact:
            changed = apply([result], veil(tokens_of(result), language))[0]
        else:
            changed = _changed([result], self._finish, self._redactor, language)[0]
        shown = copy.copy(response)
        shown.result = changed
        return shown


def _changed(results: Sequence[Result], finish: Finish, redactor: Redactor, language: str) -> list[Result]:
    changed = list(results)
    if finish.replace:
        changed = apply(changed, apart(replacements(_tokens(changed), finish.replace)))
    if finish.redact:  # before numerals: digits that are said one by one are still apart
        changed = apply(changed, redactor.edits(_tokens(changed), language))
    if finish.numerals:
        changed = apply(changed, numerals(_tokens(changed), language))
    return changed


def _hide_cut_numbers(result: Result, language: str) -> Result:
    tokens = tokens_of(result)
    edits = [
        Edit(run.first, run.last, "***")
        for run in runs(tokens, language)
        if len(run.digits) >= _CUT_DIGITS and (run.first == 0 or run.last == len(tokens))
    ]
    return apply([result], edits)[0] if edits else result


def _tokens(results: Sequence[Result]) -> list[str]:
    return [token for one in results for token in tokens_of(one)]
