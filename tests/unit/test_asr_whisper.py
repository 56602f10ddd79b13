"""The model's numerics, pinned on a tiny seeded checkpoint: prompts, steps, batches, attention."""

import numpy as np
import pytest
import torch

from asr.models.decoder import Segment
from asr.models.graphs import FixedSteps
from asr.models.mel import LogMel, mel_filters
from asr.models.quant import make_linear, resolve_compute_type
from asr.models.whisper import TAIL_POSITIONS, Whisper
from tests.device import CPU, chosen
from tests.fakes.tiny_whisper import TINY, tiny_source

PROMPT = [257, 258, 262, 266]


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 16000)) / 16000)).astype(np.float32)


def make(compute: str = "fp32", slots: int = 4) -> Whisper:
    source, device = tiny_source(), chosen()
    return Whisper(
        TINY,
        source.weights,
        device=device,
        compute=resolve_compute_type(compute, device),
        slots=slots,
        threads=1,
        alignment_heads=source.alignment_heads,
    )


@pytest.fixture(scope="module")
def model() -> Whisper:
    return make()


def hear(model: Whisper, row: int, seconds: float, hz: float = 440.0) -> None:
    model.hear(row, model.encode([tone(seconds, hz)])[0])


def test_mel_filters_have_equal_area_and_cover_every_band() -> None:
    filters = mel_filters(80)
    assert filters.shape == (80, 201)
    assert (filters.sum(dim=1) > 0).all()
    assert filters[40:].sum(dim=1).mul(40.0).mean() == pytest.approx(1.0, abs=0.02)


def test_a_tone_is_loudest_in_its_band() -> None:
    mel = LogMel(80, CPU)(torch.from_numpy(tone(0.5, 1000.0))[None])
    assert mel.shape == (1, 80, 50)
    band = int(mel[0, :, 25].argmax())
    peak_hz = float(mel_filters(80)[band].argmax()) * 40.0
    assert peak_hz == pytest.approx(1000.0, abs=60.0)
    assert float(mel.max() - mel.min()) <= 2.0 + 1e-5


def test_cost_follows_the_real_length(model: Whisper) -> None:
    short, long = model.encode([tone(6.0), tone(9.0)])
    assert len(long) - len(short) == 3 * 50
    assert len(short) < 400


def test_a_short_window_is_shorter_still_for_an_interim(model: Whisper) -> None:
    final, interim = model.encode([tone(1.0), tone(1.0)], [False, True])
    assert len(final) == len(model.encode([tone(2.0)])[0]) == 250 + TAIL_POSITIONS
    assert len(interim) == 75 + TAIL_POSITIONS
    final, interim = model.encode([tone(6.0), tone(6.0)], [False, True])
    torch.testing.assert_close(interim, final, atol=1e-4, rtol=1e-4)


def test_the_end_of_a_window_follows_the_speech(model: Whisper) -> None:
    one, other = model.encode([tone(6.0), tone(8.0, 300.0)])
    torch.testing.assert_close(one[-TAIL_POSITIONS:], other[-TAIL_POSITIONS:])
    whole = model.encode([tone(30.0)])[0]
    assert len(whole) == TINY.n_audio_ctx + TAIL_POSITIONS


def test_windows_of_one_length_are_encoded_as_if_alone(model: Whisper) -> None:
    alone = model.encode([tone(1.0, 300.0)])[0]
    together = model.encode([tone(1.0), tone(1.0, 300.0)])[1]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_learnt_silence_stands_for_the_padding_to_a_whole_window() -> None:
    model = make()
    padded = model._encoder(
        model._mel(
            torch.nn.functional.pad(torch.from_numpy(tone(5.0)), (0, 25 * 16000))[None].to(model.device)
        )
    )[0]
    near = model.encode([tone(5.0)])[0][:250]
    model._encoder._window = 0
    alone = model.encode([tone(5.0)])[0][:250]
    assert float((near - padded[:250]).norm()) < float((alone - padded[:250]).norm())


def test_a_prompt_gives_what_single_steps_give(model: Whisper) -> None:
    hear(model, 0, 1.0)
    tokens = [*PROMPT, 10, 20, 30]
    at_once = model.forward([Segment(0, tokens, range(len(tokens)))])
    hear(model, 1, 1.0)
    steps = torch.cat([model.forward([Segment(1, [token], [0])]) for token in tokens])
    torch.testing.assert_close(at_once, steps, atol=1e-3, rtol=1e-3)


def test_a_batched_step_gives_what_single_steps_give(model: Whisper) -> None:
    single = []
    for row, seconds in enumerate((1.0, 2.0, 1.5)):
        hear(model, row, seconds)
        model.forward([Segment(row, PROMPT[: 2 + row], [0])])
        single.append(model.forward([Segment(row, [40 + row], [0])]))
        model.cache.text_length[row] -= 1
    together = model.forward([Segment(row, [40 + row], [0]) for row in range(3)])
    torch.testing.assert_close(together, torch.cat(single), atol=1e-3, rtol=1e-3)


def test_prompts_and_steps_share_a_call(model: Whisper) -> None:
    hear(model, 0, 1.0)
    hear(model, 1, 2.0)
    model.forward([Segment(0, PROMPT, [3])])
    expected = model.forward([Segment(0, [5], [0])]), model.forward([Segment(1, PROMPT, [0, 3])])
    hear(model, 1, 2.0)
    model.cache.text_length[0] -= 1
    together = model.forward([Segment(0, [5], [0]), Segment(1, PROMPT, [0, 3])])
    torch.testing.assert_close(together, torch.cat(expected), atol=1e-3, rtol=1e-3)


def test_a_moved_row_goes_on_as_before(model: Whisper) -> None:
    hear(model, 0, 1.0)
    model.forward([Segment(0, PROMPT, [3])])
    model.cache.move(0, 3)
    expected = model.forward([Segment(0, [9], [0])])
    torch.testing.assert_close(model.forward([Segment(3, [9], [0])]), expected, atol=1e-4, rtol=1e-4)


def test_attention_weights_are_those_of_the_decoded_tokens(model: Whisper) -> None:
    hear(model, 0, 1.0)
    model.forward([Segment(0, [*PROMPT, 1, 2], [5])])
    weights = model.attention_weights(0, 3, 6, 50)
    assert weights.shape == (len(model.alignment_heads), 3, 50)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))


def test_golden_numbers(model: Whisper) -> None:
    """Fixed when the model was checked against real checkpoints; a change here changes what is recognised."""
    states = model.encode([tone(1.0)])[0]
    model.hear(0, states)
    logits = model.forward([Segment(0, PROMPT, [0, 3])])
    assert states[10, :4].tolist() == pytest.approx(GOLDEN_STATES, abs=2e-3)
    assert logits[1, :4].tolist() == pytest.approx(GOLDEN_LOGITS, abs=2e-3)
    assert int(logits[1].argmax()) == GOLDEN_TOKEN


GOLDEN_STATES = [-0.61, 0.2584, -0.6346, -0.5362]
GOLDEN_LOGITS = [-0.9314, -1.216, -1.1701, 1.3092]
GOLDEN_TOKEN = 147


def test_smaller_types_stay_near_fp32(model: Whisper) -> None:
    for compute in ("int8" if model.device.type == "cpu" else "fp16", "bf16"):
        small = make(compute)
        for each in (model, small):
            hear(each, 0, 1.0)
        exact = model.forward([Segment(0, PROMPT, range(4))])
        near = small.forward([Segment(0, PROMPT, range(4))])
        assert float((near - exact).norm() / exact.norm()) < 0.1, compute


def test_an_int8_row_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(32, 64, generator=generator), torch.randn(32, generator=generator)
    linear = make_linear(weight, bias, rows="few", compute="int8", device=CPU)
    row = torch.randn(1, 64, generator=generator)
    together = linear(torch.cat([row, row * 1000]))[:1]
    exact = row @ weight.T + bias
    assert float((together - exact).norm() / exact.norm()) < 0.03


def test_an_unknown_compute_type_is_refused() -> None:
    with pytest.raises(ValueError, match="use auto"):
        resolve_compute_type("int3", CPU)


def test_steps_at_fixed_shapes_are_the_same_steps() -> None:
    """What a GPU replays as a graph, run here without one: beside prompts, idle rows and rows of other lengths."""
    plain, fixed = make(), make()
    for one in (plain, fixed):
        for row, seconds in enumerate((0.4, 8.0, 3.0, 1.0)):
            hear(one, row, seconds, 300.0 + 100 * row)
            one.forward([Segment(row, [*PROMPT, *range(row)], [0])])
    steps = FixedSteps(fixed._decoder)
    calls = [
        [Segment(0, [7], [0]), Segment(1, [8], [0]), Segment(2, [9], [0])],  # row 3 rests
        [Segment(1, [10], [0])],
        [Segment(0, [11, 12], [0, 1]), Segment(1, [13], [0]), Segment(3, [14], [0])],
        [Segment(row, [15], [0]) for row in range(4)],
        [Segment(0, [16, 17, 18], [2]), Segment(2, [19, 20], [1])],
    ]
    with torch.inference_mode():
        for call in calls:
            expected = plain._decoder.logits(plain._decoder.hidden(call))
            torch.testing.assert_close(steps(call), expected, atol=1e-5, rtol=1e-4)
            assert fixed.cache.text_length == plain.cache.text_length
    torch.testing.assert_close(
        fixed.attention_weights(1, 4, 8, 50), plain.attention_weights(1, 4, 8, 50), atol=1e-5, rtol=1e-4
    )


def test_preparing_fixed_steps_leaves_no_trace() -> None:
    plain, fixed = make(), make()
    for one in (plain, fixed):
        hear(one, 0, 2.0)
        one.forward([Segment(0, PROMPT, [0])])
    steps = FixedSteps(fixed._decoder)
    with torch.inference_mode():
        steps.prepare()
        step = [Segment(0, [5], [0])]
        expected = plain._decoder.logits(plain._decoder.hidden(step))
        torch.testing.assert_close(steps(step), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("compute", ["fp32", "int8"])
def test_a_recorded_step_is_the_same_step(compute: str) -> None:
    """Recorded once for one row, one length of audio and one of text, it serves all of them."""
    plain, recorded = make(compute), make(compute)
    for one in (plain, recorded):
        hear(one, 0, 1.0)
        hear(one, 2, 8.0, 300.0)
        one.forward([Segment(2, PROMPT, [0])])
    with torch.inference_mode():
        for token in range(40):
            for row in (2, 0):
                step = [Segment(row, [token], [0])]
                expected = plain._decoder.logits(plain._decoder.hidden(step))
                torch.testing.assert_close(recorded.forward(step), expected, atol=1e-5, rtol=1e-4)
                assert recorded.cache.text_length == plain.cache.text_length
    torch.testing.assert_close(
        recorded.attention_weights(2, 4, 40, 50), plain.attention_weights(2, 4, 40, 50)
    )
