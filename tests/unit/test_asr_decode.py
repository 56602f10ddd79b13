"""The token policy: limits, loops, guesses, beams, silence."""

import pytest

from asr.engine.decode import (
    Beam,
    Greedy,
    Hypothesis,
    Policy,
    compression_ratio,
    failed,
    is_silence,
    loop_start,
    token_limit,
)
from asr.engine.keyterms import KeytermBias
from asr.model import Keyterm
from asr.models.select import Ask, Choice

EOT = 99


def policy(limit: int = 50, temperature: float = 0.0) -> Policy:
    return Policy(EOT, (7, EOT), limit, temperature)


def said(token: int, logprob: float = -0.1) -> Choice:
    return Choice([token], [logprob])


def test_a_window_bounds_its_tokens() -> None:
    assert token_limit(1.0, 400) < token_limit(10.0, 400) < 400
    assert token_limit(1000.0, 400) == 400


def test_a_word_said_twice_is_no_loop() -> None:
    assert loop_start([5, 5]) is None
    assert loop_start([1, 2, 3, 1, 2, 3]) is None


@pytest.mark.parametrize("period", [1, 2, 5, 9])
def test_a_loop_is_cut_behind_its_first_turn(period: int) -> None:
    head, turn = [100, 101], list(range(period))
    tokens = head + turn * 40
    assert loop_start(tokens[: 2 + 40 * period]) == 2 + period


def test_only_the_first_token_is_restricted() -> None:
    assert policy().ask([]).banned == (7, EOT)
    assert policy().ask([1]).banned == ()


def test_greedy_ends_at_the_end_token() -> None:
    attempt = Greedy(policy(), (), (), score_prefix=False)
    assert attempt.opening() == ([], 1)
    assert attempt.open([said(1)]) == 0
    attempt.advance(said(2, -0.3))
    attempt.advance(said(EOT, -0.2))
    assert attempt.done
    assert attempt.best.tokens == [1, 2]
    assert attempt.best.avg_logprob == pytest.approx(-0.2)


def test_greedy_stops_at_its_limit() -> None:
    attempt = Greedy(policy(limit=3), (), (), score_prefix=False)
    attempt.open([said(1)])
    for token in (2, 3):
        assert not attempt.done
        attempt.advance(said(token))
    assert attempt.done


def test_a_right_guess_is_taken_whole() -> None:
    attempt = Greedy(policy(), (1,), (2, 3), score_prefix=False)
    assert attempt.opening() == ([1, 2, 3], 3)
    assert len(attempt.opening_asks()) == 3
    assert attempt.open([said(2), said(3), said(4)]) == 0
    assert attempt.best.tokens == [1, 2, 3, 4]


def test_a_wrong_guess_is_taken_back_from_where_it_fails() -> None:
    attempt = Greedy(policy(), (1,), (2, 3, 4), score_prefix=False)
    assert attempt.open([said(2), said(8), said(4), said(5)]) == 2
    assert attempt.best.tokens == [1, 2, 8]


def test_a_guess_that_ends_early_is_taken_back() -> None:
    attempt = Greedy(policy(), (), (2, 3), score_prefix=False)
    assert attempt.open([said(2), said(EOT), said(9)]) == 1
    assert attempt.done
    assert attempt.best.tokens == [2]


@pytest.mark.parametrize(
    "answers",
    [[8, 3, 4, 5, 6], [8, 2, 3, 4, 5, 6], [3, 4, 5, 6], [8, 9, 3, 4, 5, 6]],
    ids=["changed", "put in", "left out", "two for one"],
)
def test_the_rest_of_a_guess_is_verified_at_once_where_the_text_comes_back_to_it(answers: list[int]) -> None:
    attempt = Greedy(policy(), (), (2, 3, 4, 5, 6), score_prefix=False)
    cached = 5 - attempt.open([said(answers[0])] * 6)
    steps = []
    while not attempt.done:
        pending = attempt.pending()
        place = len(attempt.best.tokens)
        right = [*answers, EOT, EOT, EOT]
        choices = [said(right[place + i]) for i in range(len(pending))]
        assert len(attempt.asks()) == len(pending)
        steps.append(len(pending))
        cached += len(pending) - attempt.take(choices)
    assert attempt.best.tokens == answers
    assert max(steps) >= 3
    assert len(steps) < len(answers)
    assert cached == len(answers)  # the row holds the text and nothing else


def test_a_guess_that_was_rejoined_in_the_wrong_place_is_taken_back() -> None:
    attempt = Greedy(policy(), (), (2, 3, 4), score_prefix=False)
    assert attempt.open([said(3), said(9), said(9), said(9)]) == 3
    assert attempt.pending() == [3, 4]
    assert attempt.take([said(6), said(7)]) == 1
    assert attempt.pending() == [6]
    assert attempt.best.tokens == [3, 6]


def test_forced_tokens_are_scored_when_asked_for() -> None:
    attempt = Greedy(policy(), (1, 2), (), score_prefix=True)
    assert [ask.watched for ask in attempt.opening_asks()] == [1, 2, None]
    attempt.open([Choice([9], [0.0], -0.5), Choice([9], [0.0], -0.7), said(3)])
    assert attempt.best.tokens == [1, 2, 3]
    assert attempt.best.logprobs == [-0.5, -0.7, -0.1]
    assert attempt.best.avg_logprob == pytest.approx(-0.1)


def test_a_loop_ends_the_attempt_and_is_cut() -> None:
    attempt = Greedy(policy(limit=500), (), (), score_prefix=False)
    attempt.open([said(1)])
    while not attempt.done:
        attempt.advance(said(5))
    assert attempt.best.looped
    assert attempt.best.tokens == [1, 5]


def test_the_beam_keeps_the_best_finished_hypothesis() -> None:
    beam = Beam(policy(), (), 2)
    assert [ask.best for ask in beam.asks()] == [3]
    assert beam.advance([Choice([1, 2, 3], [-0.1, -0.5, -3.0])]) == [0, 0]
    parents = beam.advance([Choice([4, 5, 6], [-2.0, -2.5, -3.0]), Choice([7, EOT, 6], [-0.1, -0.2, -3.0])])
    assert parents == [1, 0]
    beam.advance([Choice([EOT, 5, 6], [-0.05, -4.0, -5.0]), Choice([EOT, 5, 6], [-1.0, -4.0, -5.0])])
    assert beam.done
    assert beam.best.tokens == [2, 7]


def test_repetition_and_doubt_fail_an_attempt() -> None:
    assert compression_ratio("") == 0.0
    assert failed(Hypothesis([1], [-0.1]), "ha " * 100)
    assert failed(Hypothesis([1], [-2.0]), "fine")
    assert not failed(Hypothesis([1], [-0.1]), "fine")


def test_silence_needs_both_signs() -> None:
    doubtful, sure = Hypothesis([1], [-1.5]), Hypothesis([1], [-0.1])
    assert is_silence(doubtful, 0.8)
    assert not is_silence(sure, 0.8)
    assert not is_silence(doubtful, 0.1)


def spell(text: str) -> list[int]:
    return list(text.encode())


def test_a_begun_keyterm_is_pushed_further_than_a_new_one() -> None:
    bias = KeytermBias([Keyterm("Zorb", 5.0)], spell)
    fresh, begun = bias.after(spell("a")), bias.after(spell("a Zo"))
    assert 0 < fresh[ord(" ")] < begun[ord("r")]


def test_a_negative_keyterm_pushes_away() -> None:
    assert KeytermBias([Keyterm("um", -3.0)], spell).after([])[ord(" ")] == -3.0


def test_asks_carry_keyterms_and_temperature() -> None:
    rules = Policy(EOT, (), 10, 0.4, KeytermBias([Keyterm("x", 2.0)], spell))
    asked = rules.ask([1])
    assert isinstance(asked, Ask)
    assert asked.temperature == 0.4
    assert asked.bias[ord(" ")] == pytest.approx(0.6)
