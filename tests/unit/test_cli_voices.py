from cli.voices import SAMPLES, rows, sample
from common.pb.voxmesh.tts.v1 import Voice
from common.weights import catalog

NONE = dict.fromkeys(catalog(), False)


def test_voices_that_speak_come_first_and_once() -> None:
    joe = Voice(name="en_US-joe-medium", language="en-US", sample_rate_hz=22_050, speakers=1, engine="vits")
    mine = Voice(name="mine", language="de-DE", sample_rate_hz=16_000, speakers=3, engine="vits")
    shown = list(rows([joe, mine], NONE | {"kokoro-ja": True}))
    assert [row.name for row in shown[:2]] == ["en_US-joe-medium", "mine"]
    assert shown[0].licence.startswith("CC0") and not shown[1].licence
    assert shown[0].rate == "22.05 kHz" and "speaks" in shown[0].how
    assert {row.engine for row in shown[2:]} == {"kokoro"} and len(shown) == 7
    assert all("pull" not in row.how and "load kokoro-ja" in row.how for row in shown[2:])


def test_what_is_not_here_says_how_to_get_it() -> None:
    shown = {row.name: row.how for row in rows([], NONE)}
    assert "pull kokoro-ja" in shown["jf_alpha"]
    assert "pull en_US-joe-medium" in shown["en_US-joe-medium"]


def test_every_language_has_something_to_say() -> None:
    assert sample("ja-JP") == SAMPLES["ja"]
    assert sample("xx") == SAMPLES["en"]
    assert all(text.strip() for text in SAMPLES.values())
