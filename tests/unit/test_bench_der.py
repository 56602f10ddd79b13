"""The diarization error rate on turns whose error is known."""

from pathlib import Path

import pytest

from bench.der import Turn, read_rttm, score, speakers

TALK = [Turn(0, 10, "ann"), Turn(10, 20, "bob")]


def test_names_do_not_matter() -> None:
    found = score(TALK, [Turn(0, 10, "1"), Turn(10, 20, "0")], 20)
    assert found.der == 0
    assert found.scored == pytest.approx(19.0)  # 20 s less the collars


def test_each_kind_of_error_is_counted() -> None:
    found = score(TALK, [Turn(0, 15, "0"), Turn(15, 17, "1"), Turn(22, 24, "1")], 30, collar_s=0)
    assert (found.missed, found.false, found.confused) == pytest.approx((3, 2, 5))
    assert found.der == pytest.approx(0.5)


def test_overlap_counts_for_every_speaker_unless_left_out() -> None:
    both = [*TALK, Turn(4, 6, "bob")]
    alone = [Turn(0, 10, "0"), Turn(10, 20, "1")]
    assert score(both, alone, 20, collar_s=0).missed == pytest.approx(2)
    assert score(both, alone, 20, collar_s=0, overlap=False).der == 0


def test_nothing_found_is_all_missed() -> None:
    assert score(TALK, [], 20).der == 1
    assert score([], [], 20).der == 0


def test_rttm_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.rttm"
    file.write_text(
        "SPEAKER a 1 0.5 1.25 <NA> <NA> ann <NA> <NA>\n\nSPKR-INFO a 1 <NA> <NA> <NA> unknown ann\n"
    )
    assert read_rttm(file) == [Turn(0.5, 1.75, "ann")]
    assert speakers(TALK) == 2
