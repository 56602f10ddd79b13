"""The SSML subset, and what is refused."""

import pytest

from common.errors import InvalidArgument
from tts.text.segment import Boundary
from tts.text.ssml import MAX_CHARS, MAX_DEPTH, Document, End, Pause, Span, Style, parse_ssml


def parse(body: str) -> Document:
    return parse_ssml(f"<speak>{body}</speak>", voices=("joe",))


def spans(document: Document) -> list[tuple[str, Style]]:
    return [(part.text, part.style) for part in document.parts if isinstance(part, Span)]


def marked(document: Document) -> list[tuple[str, str]]:
    """The words that markup made: as written, and their sound."""
    return [
        (w.written, f"/{w.ipa}/" if w.ipa else w.spoken) for words in document.slots.values() for w in words
    ]


def test_plain_text_inside() -> None:
    assert spans(parse("Hello\n   there")) == [("Hello there", Style())]


def test_a_declaration_and_namespaces_are_fine() -> None:
    head = '<?xml version="1.0"?><speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis" xml:lang="en-US">'
    assert spans(parse_ssml(f"\n{head}hi</speak>")) == [("hi", Style())]


@pytest.mark.parametrize(
    ("markup", "ms"),
    [
        ("<break/>", 400), ('<break time="500ms"/>', 500), ('<break time="1.5s"/>', 1500),
        ('<break strength="none"/>', 0), ('<break strength="x-strong"/>', 1000),
        ('<break strength="weak" time="1s"/>', 1000),
    ],
)  # fmt: skip
def test_breaks(markup: str, ms: int) -> None:
    assert parse(f"a{markup}b").parts == [Span("a", Style()), Pause(ms), Span("b", Style())]


def test_paragraphs_and_sentences_end_what_was_said() -> None:
    parts = parse("<p><s>One</s><s>Two</s></p>").parts
    assert [part.boundary for part in parts if isinstance(part, End)] == [
        Boundary.PARAGRAPH, Boundary.SENTENCE, Boundary.SENTENCE, Boundary.SENTENCE, Boundary.SENTENCE,
        Boundary.PARAGRAPH,
    ]  # fmt: skip


def test_sub_phoneme_and_say_as_are_words_of_their_own() -> None:
    document = parse(
        '<sub alias="World Wide Web">WWW</sub> <phoneme alphabet="ipa" ph="təˈmɑːtoʊ">tomato</phoneme> '
        '<say-as interpret-as="characters">B2</say-as> <say-as interpret-as="digits">42</say-as> '
        '<say-as interpret-as="ordinal">3</say-as> <say-as interpret-as="cardinal">1,200</say-as>'
    )
    assert marked(document) == [
        ("WWW", "World Wide Web"), ("tomato", "/təˈmɑːtoʊ/"), ("B2", "B. 2"), ("42", "4 2"),
        ("3", "third"), ("1,200", "1200"),
    ]  # fmt: skip


def test_say_as_leaves_the_rest_to_the_usual_rules() -> None:
    assert spans(parse('<say-as interpret-as="date">1/5/2024</say-as>')) == [("1/5/2024", Style())]


@pytest.mark.parametrize(
    ("attributes", "style"),
    [
        ('rate="slow"', Style(rate=0.75)), ('rate="120%"', Style(rate=1.2)), ('rate="+20%"', Style(rate=1.2)),
        ('rate="1.5"', Style(rate=1.5)), ('rate="900%"', Style(rate=2.0)), ('pitch="+2st"', Style(pitch=2.0)),
        ('pitch="x-low"', Style(pitch=-4.0)), ('volume="-6dB"', Style(volume_db=-6.0)),
        ('volume="loud" rate="fast"', Style(rate=1.25, volume_db=4.0)),
    ],
)  # fmt: skip
def test_prosody(attributes: str, style: Style) -> None:
    ((text, got),) = spans(parse(f"<prosody {attributes}>x</prosody>"))
    assert text == "x"
    assert (got.rate, got.pitch, got.volume_db) == pytest.approx((style.rate, style.pitch, style.volume_db))


def test_prosody_and_voice_nest() -> None:
    body = '<prosody rate="slow">a<voice name="joe">b<prosody pitch="high">c</prosody></voice></prosody>d'
    assert spans(parse(body)) == [
        ("a", Style(rate=0.75)),
        ("b", Style(voice="joe", rate=0.75)),
        ("c", Style(voice="joe", rate=0.75, pitch=2.0)),
        ("d", Style()),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", "line 1, column 1"),
        ("", "no element"),
        ("<speak>", "no element found"),
        ("<speak>\n  <b>x</b></speak>", "line 2, column 3: <b> is not understood"),
        ("<p>x</p>", "must be one <speak>"),
        ("<speak><speak/></speak>", "must be one <speak>"),
        ("<speak><p>x</speak>", "mismatched tag"),
        ('<speak><break time="soon"/></speak>', "500ms"),
        ('<speak><break time="11s"/></speak>', "at most 10000 ms"),
        ('<speak><break strength="huge"/></speak>', "strength must be"),
        ("<speak>" + '<break time="10s"/>' * 61 + "</speak>", "all breaks together"),
        ('<speak><voice name="nobody">x</voice></speak>', "no such voice"),
        ("<speak><voice>x</voice></speak>", "needs a name"),
        ('<speak><prosody rate="quick">x</prosody></speak>', "rate must be"),
        ('<speak><prosody rate="-100%">x</prosody></speak>', "above zero"),
        ('<speak><prosody pitch="+20Hz">x</prosody></speak>', "not well-formed|pitch must be"),
        ('<speak><say-as interpret-as="song">x</say-as></speak>', "interpret-as must be"),
        ('<speak><phoneme alphabet="x-sampa" ph="a">x</phoneme></speak>', "ipa"),
        ("<speak><sub>x</sub></speak>", "alias"),
        ('<speak><sub alias="a"><p>x</p></sub></speak>', "holds text only"),
        ("<speak>" + "<prosody>" * MAX_DEPTH + "</prosody>" * MAX_DEPTH + "</speak>", "deep"),
        ("<speak>" + "x" * MAX_CHARS + "</speak>", "at most"),
        ("<speak>&nbsp;</speak>", "undefined entity"),
    ],
)
def test_bad_ssml_says_what_and_where(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        parse_ssml(text)


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY a "b">',
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        "",
    ],
)
def test_entities_are_never_expanded(declaration: str) -> None:
    with pytest.raises(InvalidArgument, match="DTD or entity"):
        parse_ssml(f"<!DOCTYPE speak [{declaration}]><speak>&b;</speak>")


def test_a_thousand_breaks_are_heard() -> None:
    parts = parse("a" + '<break time="100ms"/>' * 1000 + "b").parts
    assert sum(part.ms for part in parts if isinstance(part, Pause)) == 100_000
