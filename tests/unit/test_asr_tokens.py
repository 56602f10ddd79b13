"""Special ids, text and words of a token run; the alignment of words with time."""

import numpy as np
import pytest

from asr.engine.align import token_starts, warp_starts, word_times
from tests.fakes.tiny_whisper import tiny_tokens

TOKENS = tiny_tokens()


def test_the_prompt_of_a_multilingual_checkpoint_names_language_and_task() -> None:
    assert TOKENS.start("de", "translate") == [257, 259, 261, 266]
    assert TOKENS.start("en", "transcribe") == [257, 258, 262, 266]
    assert TOKENS.languages == ("en", "de", "ja")


def test_the_prompt_of_an_english_checkpoint_does_not() -> None:
    english = tiny_tokens(multilingual=False)
    assert english.start("en", "transcribe") == [257, 266]
    assert english.languages == ("en",)
    assert english.language_ids == {}


def test_text_survives_the_way_to_tokens_and_back() -> None:
    ids = TOKENS.encode("Grüße, 世界")
    assert TOKENS.decode(ids) == " Grüße, 世界"
    assert TOKENS.decode([257, *ids, 256]) == " Grüße, 世界"
    assert TOKENS.encode("  ") == []


def test_special_tokens_in_text_are_not_obeyed() -> None:
    assert max(TOKENS.encode("<|endoftext|>")) < TOKENS.eot


def test_words_take_their_punctuation_along() -> None:
    ids = TOKENS.encode('He said "go home", then left.')
    assert [text for text, _ in TOKENS.words(ids, "en")] == [
        " He",
        " said",
        ' "go',
        ' home",',
        " then",
        " left.",
    ]


def test_words_cover_all_tokens() -> None:
    for text in ("Ça va? Très bien!", "un-known 12,5 %", "“Well” …"):
        ids = TOKENS.encode(text)
        words = TOKENS.words(ids, "fr")
        assert sum(count for _, count in words) == len(ids)
        assert "".join(text for text, _ in words) == TOKENS.decode(ids)


def test_unspaced_languages_split_at_characters() -> None:
    ids = TOKENS.encode_exactly("今日は、晴れ")
    assert [text for text, _ in TOKENS.words(ids, "ja")] == ["今", "日", "は、", "晴", "れ"]


def test_a_broken_character_at_the_end_is_a_word_of_its_own_tokens() -> None:
    ids = TOKENS.encode_exactly("ok 世")[:-1]
    assert sum(count for _, count in TOKENS.words(ids, "en")) == len(ids)


def brute_force(cost: np.ndarray) -> float:
    total = np.full(cost.shape, np.inf)
    total[0, 0] = cost[0, 0]
    for row in range(cost.shape[0]):
        for column in range(cost.shape[1]):
            if row or column:
                before = [
                    total[row - 1, column] if row else np.inf,
                    total[row, column - 1] if column else np.inf,
                ]
                before.append(total[row - 1, column - 1] if row and column else np.inf)
                total[row, column] = cost[row, column] + min(before)
    return float(total[-1, -1])


def path_cost(cost: np.ndarray, starts: np.ndarray) -> float:
    """The cheapest path that enters each row at the given place."""
    total = 0.0
    for row, start in enumerate(starts):
        last = cost.shape[1] - 1 if row == len(starts) - 1 else starts[row + 1]
        ends = {last} if row == len(starts) - 1 else {last, max(start, last - 1)}
        total += min(cost[row, start : end + 1].sum() for end in ends)
    return total


@pytest.mark.parametrize("seed", range(20))
def test_the_path_is_the_cheapest(seed: int) -> None:
    cost = np.random.default_rng(seed).normal(size=(6, 17))
    assert path_cost(cost, warp_starts(cost)) == pytest.approx(brute_force(cost))


def test_tokens_start_where_they_attend() -> None:
    weights = np.full((2, 4, 80), 1e-3, np.float32)
    for token in range(4):
        weights[:, token, token * 20 : token * 20 + 20] = 0.05
    assert token_starts(weights).tolist() == pytest.approx([0, 20, 40, 60], abs=1)


def attends() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Four tokens, each looking at 0.4 s."""
    weights = np.full((1, 4, 80), 1e-3, np.float32)
    for token in range(4):
        weights[:, token, token * 20 : token * 20 + 20] = 0.05
    return weights


def test_words_have_times_and_confidence() -> None:
    logprobs = np.log([0.5, 0.7, 0.9]).tolist()
    hum = np.full(17_600, 0.1, np.float32)
    first, second = word_times([(" Hi", 2), (" you", 1)], attends(), logprobs, hum)
    assert (first.text, first.n_tokens) == ("Hi", 2)
    assert first.confidence == pytest.approx(0.6)
    assert first.start_s == pytest.approx(0.06)  # attention is early
    assert first.end_s == pytest.approx(second.start_s)
    assert first.end_s == pytest.approx(0.86, abs=0.03)
    assert second.end_s == 1.1  # the audio ends


def test_words_neither_begin_nor_end_in_silence() -> None:
    pcm = np.zeros(25_600, np.float32)
    pcm[3_200:9_600] = pcm[16_000:17_600] = 0.1  # 0.2 to 0.6 s and 1.0 to 1.1 s
    first, second = word_times([(" Hi", 2), (" you", 1)], attends(), [-0.1] * 3, pcm)
    assert [first.start_s, first.end_s, second.start_s, second.end_s] == pytest.approx([0.2, 0.6, 1.0, 1.1])


def test_words_keep_their_times_where_there_is_no_sound_at_all() -> None:
    first, second = word_times([(" Hi", 2), (" you", 1)], attends(), [-0.1] * 3, np.zeros(25_600, np.float32))
    assert 0 <= first.start_s < first.end_s <= second.start_s < second.end_s <= 1.6
