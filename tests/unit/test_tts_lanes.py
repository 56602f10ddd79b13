"""Jobs on several threads: all done once, in order, and what one raises is heard."""

import threading

import pytest
import torch

from tests.fakes.tiny_kokoro import tiny_kokoro
from tests.fakes.tiny_vits import tiny_voice
from tts.model import Clause
from tts.models.lanes import Lanes


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("jobs", [0, 1, 2, 7])
def test_results_come_in_the_order_of_the_jobs(lanes: int, jobs: int) -> None:
    done: list[int] = []

    def job(number: int) -> int:
        done.append(number)
        return number * number

    crew = Lanes(lanes)
    for _ in range(3):
        assert crew.run([lambda n=n: job(n) for n in range(jobs)]) == [n * n for n in range(jobs)]  # type: ignore[misc]
    assert sorted(done) == sorted([*range(jobs)] * 3)


def test_two_jobs_run_side_by_side() -> None:
    meet = threading.Barrier(2, timeout=5)
    Lanes(2).run([meet.wait, meet.wait])  # breaks when one waits for the other to end


@pytest.mark.parametrize("broken", [0, 3])
def test_a_job_that_raises_is_heard_and_lanes_go_on(broken: int) -> None:
    def job(number: int) -> int:
        if number == broken:
            raise ValueError("no such window")
        return number

    crew = Lanes(2)
    with pytest.raises(ValueError, match="no such window"):
        crew.run([lambda n=n: job(n) for n in range(4)])  # type: ignore[misc]
    assert crew.run([lambda: 1, lambda: 2]) == [1, 2]


def test_voices_of_both_kinds_take_turns_with_their_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        slow = tiny_kokoro()
        fast = tiny_voice(threads=2)
        for _ in range(2):
            fast.begin([Clause((1, 2, 3), seed=0)])
            assert torch.get_num_threads() == 1
            slow.begin([Clause((0, 3, 4, 0), seed=0)])
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_is_started_goes_on_while_others_are_done() -> None:
    crew, go = Lanes(2), threading.Event()
    answer = crew.start(lambda: go.wait(5), 7)
    assert crew.run([lambda: 1, lambda: 2]) == [1, 2]
    assert not answer.done()
    go.set()
    assert answer.result(5) == 7
