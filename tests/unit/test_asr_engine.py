"""The engine on a tiny model: batches, forced text, guesses, priorities, cancelling, capacity, failure."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from asr.engine.recogniser import WhisperRecogniser, build_model
from asr.engine.slots import SlotTable
from asr.model import DecodeRequest, Keyterm, Priority
from common.errors import AtCapacity, AudioTooLong, Internal, InvalidArgument, Unavailable
from tests.device import chosen
from tests.fakes.tiny_whisper import tiny_source, tiny_tokens

Make = Callable[..., WhisperRecogniser]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Loads tiny recognisers and stops them afterwards."""
    made: list[WhisperRecogniser] = []

    def build(slots: int = 4, **options: Any) -> WhisperRecogniser:
        tokens = tiny_tokens()
        model = build_model(
            tiny_source(), tokens, device=str(chosen()), threads=1, slots=slots, compute_type="fp32"
        )
        made.append(WhisperRecogniser("tiny", model, tokens, (), **options))
        return made[-1]

    yield build
    for recogniser in made:
        recogniser.close()


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 16000)) / 16000)).astype(np.float32)


def ask(seconds: float = 0.5, **options: Any) -> DecodeRequest:
    known: dict[str, Any] = {"language": "en", "fallback": False}
    return DecodeRequest(tone(seconds), **(known | options))


async def test_requests_that_share_steps_get_what_they_get_alone(make: Make) -> None:
    recogniser = make()
    requests = [ask(0.4 + 0.2 * index, beam_size=1 + index % 2) for index in range(5)]
    alone = [await recogniser.decode(request) for request in requests]
    together = await asyncio.gather(*(recogniser.decode(request) for request in requests))
    assert [result.tokens for result in together] == [result.tokens for result in alone]
    assert recogniser.slots_taken == 0


async def test_forced_text_comes_back_first(make: Make) -> None:
    recogniser = make()
    result = await recogniser.decode(ask(prefix=(10, 11, 12)))
    assert result.tokens[:3] == [10, 11, 12]
    assert len(result.tokens) > 3


async def test_forcing_what_would_be_decoded_changes_nothing(make: Make) -> None:
    recogniser = make()
    free = (await recogniser.decode(ask())).tokens
    assert (await recogniser.decode(ask(prefix=tuple(free[:4])))).tokens == free


async def test_a_guess_never_changes_the_result(make: Make) -> None:
    recogniser = make()
    free = tuple((await recogniser.decode(ask())).tokens)
    rejoined = ((1, *free[1:]), (*free[:2], 1, *free[2:]), (*free[:2], *free[3:]), (*free[4:], *free))
    for guess in (free, free[:5], (*free[:5], 1, 2, 3), (200, 201), *rejoined):
        assert tuple((await recogniser.decode(ask(draft=guess))).tokens) == free


async def test_words_have_times_in_order_and_cover_the_tokens(make: Make) -> None:
    recogniser = make()
    choices: list[dict[str, Any]] = [{}, {"prefix": (40, 41)}, {"beam_size": 3}, {"temperature": 0.5}]
    for options in choices:
        result = await recogniser.decode(ask(1.0, word_times=True, **options))
        assert sum(word.n_tokens for word in result.words) == len(result.tokens)
        times = [time for word in result.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times)
        assert times[-1] <= 1.0
        assert all(0 <= word.confidence <= 1 for word in result.words)


async def test_the_language_is_detected_when_not_given(make: Make) -> None:
    result = await make().decode(ask(language=""))
    assert result.language in ("en", "de", "ja")
    assert 1 / 3 < result.language_probability <= 1


async def test_previous_text_is_context_not_result(make: Make) -> None:
    recogniser = make()
    with_context = await recogniser.decode(ask(context=(1, 2, 3)))
    assert with_context.tokens != (await recogniser.decode(ask())).tokens


async def test_a_begun_keyterm_draws_the_decoder(make: Make) -> None:
    recogniser = make()
    begun = tuple(recogniser.encode_text("zz")[:2])  # the space and the first letter
    favoured = await recogniser.decode(ask(prefix=begun, keyterms=(Keyterm("zz", 10.0),)))
    plain = await recogniser.decode(ask(prefix=begun))
    assert favoured.tokens[2] == begun[1] != plain.tokens[2]


async def test_no_audio_and_digital_silence_give_no_text(make: Make) -> None:
    recogniser = make()
    for samples in (0, 100, 480_000):
        result = await recogniser.decode(DecodeRequest(np.zeros(samples, np.float32), language="en"))
        assert (result.text, result.tokens) == ("", [])


async def test_a_runaway_ends_at_the_bound_of_its_window(make: Make) -> None:
    result = await make().decode(ask(0.5))
    assert len(result.tokens) <= 0.5 * 16 + 24


async def test_cancelling_frees_the_slots(make: Make) -> None:
    recogniser = make(slots=2)
    tasks = [asyncio.create_task(recogniser.decode(ask(20.0, beam_size=2))) for _ in range(3)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (await recogniser.decode(ask())).tokens
    assert recogniser.slots_taken == 0


async def test_streaming_comes_before_batch(make: Make) -> None:
    recogniser = make(slots=1)
    order: list[str] = []

    async def run(name: str, priority: Priority) -> None:
        await recogniser.decode(ask(2.0, priority=priority))
        order.append(name)

    names = [(f"batch {index}", Priority.BATCH) for index in range(3)] + [("stream", Priority.STREAM)]
    await asyncio.gather(*(run(name, priority) for name, priority in names))
    assert order.index("stream") <= 1


async def test_more_than_may_wait_are_refused_with_advice(make: Make) -> None:
    recogniser = make(slots=1)
    results = await asyncio.gather(*(recogniser.decode(ask()) for _ in range(40)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, AtCapacity)]
    assert refused
    assert refused[0].retry_after_s
    assert (await recogniser.decode(ask())).tokens


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"language": "xx"}, InvalidArgument),
        ({"prefix": (257,)}, InvalidArgument),
        ({"context": (-1,)}, InvalidArgument),
        ({"seconds": 31.0}, AudioTooLong),
    ],
)
async def test_a_wrong_request_is_refused(
    make: Make, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await make().decode(ask(**options))


async def test_a_failing_step_fails_its_requests_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = make()
    with monkeypatch.context() as broken:
        broken.setattr(recogniser._model, "forward", lambda _: 1 / 0)
        with pytest.raises(Internal):
            await recogniser.decode(ask())
    assert recogniser.healthy
    assert (await recogniser.decode(ask())).tokens


async def test_a_stalled_step_is_unhealthy(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser, gate = make(stall_s=0.05), threading.Event()
    forward = recogniser._model.forward

    def stall(segments: Any) -> Any:
        gate.wait(5)
        return forward(segments)

    monkeypatch.setattr(recogniser._model, "forward", stall)
    task = asyncio.create_task(recogniser.decode(ask()))
    await asyncio.sleep(0.2)
    assert not recogniser.healthy
    gate.set()
    await task
    assert recogniser.healthy


async def test_a_closed_engine_answers_unavailable(make: Make) -> None:
    recogniser = make(slots=1)
    waiting = [asyncio.create_task(recogniser.decode(ask(5.0))) for _ in range(3)]
    await asyncio.sleep(0.01)
    await asyncio.to_thread(recogniser.close)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(result, Unavailable) for result in results)
    assert not recogniser.healthy
    with pytest.raises(Unavailable):
        await recogniser.decode(ask())


def test_slots_stay_dense_and_every_taking_has_its_own_generation() -> None:
    table: SlotTable[str] = SlotTable(3)
    generations = [table.acquire(name)[1] for name in "abc"]
    assert len(set(generations)) == 3
    assert table.free == 0
    assert table.release(0) == (2, "c")
    assert (table.owner(0), table.generation(0)) == ("c", generations[2])
    assert table.release(1) is None
    assert table.generation(1) == 0
    row, generation = table.acquire("d")
    assert row == 1
    assert generation not in generations
