"""Whose turn it is to decode, and how far behind the engine is."""

from asr.live.turns import Turns, Urgency


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_interims_wait_for_a_place_and_finals_do_not() -> None:
    turns = Turns(1)
    assert turns.ask("a", Urgency.LATER, lambda: None)
    turns.begin("a", Urgency.LATER)
    assert not turns.ask("b", Urgency.FIRST, lambda: None)
    assert turns.ask("c", Urgency.CLOSING, lambda: None)


def test_pauses_go_first_then_first_interims_then_the_longest_unserved() -> None:
    turns, woken = Turns(1), []
    for channel in ("a", "b", "c", "d"):
        turns.begin(channel, Urgency.CLOSING)
        turns.end(channel)
    turns.begin("x", Urgency.LATER)
    wanted = (("b", Urgency.LATER), ("a", Urgency.LATER), ("c", Urgency.FIRST), ("d", Urgency.PAUSED))
    for channel, urgency in wanted:

        def wake(channel: str = channel, urgency: Urgency = urgency) -> None:
            woken.append(channel)
            turns.begin(channel, urgency)

        assert not turns.ask(channel, urgency, wake)
    for done in ("x", "d", "c", "a"):
        turns.end(done)
    assert woken == ["d", "c", "a", "b"]


def test_later_interims_leave_a_place_for_those_who_cannot_wait() -> None:
    turns, woken = Turns(2), []
    assert turns.ask("a", Urgency.LATER, lambda: None)
    turns.begin("a", Urgency.LATER)
    assert not turns.ask("b", Urgency.LATER, lambda: woken.append("b"))
    for urgency in (Urgency.PAUSED, Urgency.FIRST):
        assert turns.ask("c", urgency, lambda: None)
        turns.begin("c", urgency)
        assert not turns.ask("d", urgency, lambda: None)
        turns.leave("d")
        turns.end("c")
    assert not woken
    turns.end("a")
    assert woken == ["b"]


def test_a_channel_that_wants_nothing_any_more_passes_its_turn_on() -> None:
    turns, woken = Turns(1), []
    turns.begin("x", Urgency.LATER)
    for channel in ("a", "b"):
        turns.ask(channel, Urgency.LATER, lambda channel=channel: woken.append(channel))  # type: ignore[misc]
    turns.end("x")
    assert woken == ["a", "b"]


def test_a_channel_that_left_is_not_woken() -> None:
    turns, woken = Turns(1), []
    turns.begin("x", Urgency.LATER)
    turns.ask("a", Urgency.LATER, lambda: woken.append("a"))
    turns.leave("a")
    turns.end("x")
    assert woken == []


def test_the_delay_follows_finals_shows_one_that_hangs_and_fades() -> None:
    clock = Clock()
    turns = Turns(2, clock)
    for _ in range(30):
        turns.begin("a", Urgency.CLOSING)
        clock.now += 1.0
        turns.end("a")
    assert 0.4 < turns.delay_s <= 1.0
    settled = turns.delay_s
    turns.begin("a", Urgency.LATER)
    clock.now += 5.0
    turns.end("a")
    assert abs(turns.delay_s - settled / 2) < 1e-6  # interims are not measured
    turns.begin("a", Urgency.CLOSING)
    clock.now += 8.0
    assert turns.delay_s == 8.0
    turns.end("a", finished=False)
    assert turns.delay_s < 1.0
