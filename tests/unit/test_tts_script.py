"""Text in, things to say out."""

import pytest

from common.errors import InvalidArgument
from common.pb.voxmesh.tts import v1 as pb
from tests.fakes.synthesiser import make_voice
from tts.options import read_config
from tts.script import Flushed, Part, Say, Script, Silence


def make_script(**config: object) -> Script:
    voices = (make_voice(), make_voice("de", language="de-DE", espeak_voice="de"))
    options = read_config(pb.SynthesizeRequest(config=pb.SynthesizeConfig(**config)), voices)  # type: ignore[arg-type]
    return Script(options, {voice.name: voice for voice in voices}, max_characters=1_000, clock=lambda: 7.0)


def show(parts: list[Part]) -> list[str | int]:
    """Words as spoken, silences as milliseconds."""
    shown: list[str | int] = []
    for part in parts:
        match part:
            case Say(words):
                shown.append(" ".join(word.spoken + word.mark for word in words))
            case Silence(ms):
                shown.append(ms)
            case Flushed():
                shown.append("flushed")
    return shown


def test_pauses_depend_on_what_ended() -> None:
    script = make_script()
    assert show([*script.push("One. Two!\n\nThree"), *script.finish()]) == ["One.", 120, "Two!", 400, "Three"]


def test_no_pause_inside_a_sentence_or_at_the_ends() -> None:
    script = make_script()
    parts = [*script.push("Well, as I was saying, the rest"), *script.finish()]
    assert show(parts) == ["Well, as I was saying,", "the rest"]


def test_when_it_became_ready_is_noted() -> None:
    (part,) = make_script().push("One. ")
    assert isinstance(part, Say) and part.ready_at == 7.0


def test_symbols_are_named_only_when_there_is_nothing_else() -> None:
    script = make_script()
    assert show([*script.push("?!"), *script.finish()]) == ["question mark exclamation mark"]
    assert show([*script.push("Hi ?!"), *script.finish()]) == ["Hi ?"]
    assert show([*script.push("..."), *script.push(" Hi"), *script.finish()]) == [120, "Hi"]


def test_breaks_take_the_place_of_pauses() -> None:
    script = make_script(markup=pb.Markup.SSML)
    parts = script.push(
        '<speak>One.<break time="2s"/>Two.<break strength="none"/><s>Three</s><p>Four</p></speak>'
    )
    assert show([*parts]) == ["One.", 2000, "Two.", "Three", 400, "Four"]


def test_documents_may_follow_one_another_and_come_in_pieces() -> None:
    script = make_script(markup=pb.Markup.SSML)
    assert show([*script.push("<speak>One</sp")]) == []
    assert show([*script.push("eak> <speak>Two</speak >\n")]) == ["One", "Two"]
    assert show([*script.finish()]) == []


def test_the_language_of_a_voice_is_read_by_its_own_rules() -> None:
    script = make_script(markup=pb.Markup.SSML)
    assert show([*script.push('<speak>5 km <voice name="de">5 km</voice></speak>')]) == [
        "five kilometers",
        "5 km",
    ]


def test_characters_are_counted_and_limited() -> None:
    script = make_script()
    assert [*script.push("x " * 400)] and script.characters == 800
    with pytest.raises(InvalidArgument, match="at most 1000"):
        list(script.push("x " * 101))
