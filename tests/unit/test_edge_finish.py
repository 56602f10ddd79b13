"""What is done to finals: redaction, replacements, numerals, search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument
from common.pb.voxmesh.asr.v1 import RecognizeResponse, Result, Summary, Word
from edge.finish.edits import Edit, apply
from edge.finish.options import Finish, finish_options
from edge.finish.redact import Redactor, luhn
from edge.finish.results import LiveFinisher, finish_transcript
from edge.finish.search import search
from edge.listening.requests import ListenOptions, Transcript

PCI, PII = finish_options({"redact": "pci"}).redact, finish_options({"redact": "pii"}).redact


def result(
    text: str, *, words: bool = True, final: bool = True, start_ms: int = 0, channel: int = 0
) -> Result:
    tokens = text.split()
    held = [
        Word(text=token, start_ms=start_ms + n * 100, end_ms=start_ms + n * 100 + 80, confidence=0.5)
        for n, token in enumerate(tokens)
    ]
    return Result(
        text=text, is_final=final, words=held if words else [], channel=channel, language="en", tokens=[1, 2]
    )


def transcript(*results: Result) -> Transcript:
    return Transcript("r", list(results), Summary(language="en"), "m", ListenOptions(), 1_000)


def finished(text: str, finish: Finish, language: str = "en") -> str:
    one = transcript(result(text))
    one.summary.language = language
    return finish_transcript(one, finish).text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("My card is 4111 1111 1111 1111, thanks.", "My card is [CREDIT_CARD_1], thanks."),
        ("It is 4111-1111-1111-1111.", "It is [CREDIT_CARD_1]."),
        ("card four one one one one one one one one one one one one one one one ok", "card [CREDIT_CARD_1] ok"),
        ("card double four one one zero one two three four five six seven eight nine zero", None),
        ("My card is 4111 1111 1111 1112, thanks.", None),  # fails the checksum
        ("the code is 4111", None),
        ("the CVV is 123", "the CVV is [CVV_1]"),
        ("my security code is one two three.", "my security code is [CVV_1]."),
        ("it expires 12/27 or so", "it expires [EXPIRATION_DATE_1] or so"),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [BANK_ACCOUNT_1] please"),
        ("IBAN DE88 3704 0044 0532 0130 00 please", None),
        ("4111 1111 1111 1111 again 4111111111111111 other 5500 0000 0000 0004", "[CREDIT_CARD_1] again [CREDIT_CARD_1] other [CREDIT_CARD_2]"),
        ("In 2024 we sold 1234567 units.", None),
    ],
)  # fmt: skip
def test_payment_data(said: str, shown: str | None) -> None:
    assert finished(said, Finish(redact=PCI)) == (shown or said)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Call 202-555-0147 now.", "Call [PHONE_NUMBER_1] now."),
        ("call (415) 555 2671.", "call [PHONE_NUMBER_1]."),
        ("my number is five five five one two three four", "my number is [PHONE_NUMBER_1]"),
        ("plus four four twenty 7946 0958 it is", "[PHONE_NUMBER_1] it is"),
        ("+44 20 7946 0958, it is", "[PHONE_NUMBER_1], it is"),
        ("write to John.Smith@example.com, please", "write to [EMAIL_ADDRESS_1], please"),
        ("write to john dot smith at example dot com please", "write to [EMAIL_ADDRESS_1] please"),
        ("mail ada at mail.example.org today", "mail [EMAIL_ADDRESS_1] today"),
        ("meet me at noon at the dot", None),
        ("my SSN is 078-05-1120.", "my SSN is [SSN_1]."),
        ("social security number 078051120", "social security number [SSN_1]"),
        ("the server 192.168.0.1 and version 1.2.3", "the server [IP_ADDRESS_1] and version 1.2.3"),
        ("we have 300 apples and 1999 pears", None),
    ],
)
def test_personal_data(said: str, shown: str | None) -> None:
    assert finished(said, Finish(redact=PII)) == (shown or said)


def test_other_languages_read_digits_out_as_well() -> None:
    said = "karte vier eins eins eins eins eins eins eins eins eins eins eins eins eins eins eins danke"
    assert finished(said, Finish(redact=PCI), "de") == "karte [CREDIT_CARD_1] danke"


def test_any_number_when_numbers_are_asked_for() -> None:
    assert finished("room 4711 and 12", finish_options({"redact": ["numbers"]})) == "room [NUMBER_1] and 12"


def test_words_say_what_the_text_says_and_keep_their_times() -> None:
    one = finish_transcript(transcript(result("card 4111 1111 1111 1111, ok")), Finish(redact=PCI)).results[0]
    assert [(word.text, word.start_ms, word.end_ms) for word in one.words] == [
        ("card", 0, 80), ("[CREDIT_CARD_1],", 100, 480), ("ok", 500, 580),
    ]  # fmt: skip
    assert not one.tokens  # vocabulary ids would spell the number


def test_a_card_over_two_stretches_is_found_and_channels_stay_apart() -> None:
    finish = Finish(redact=PCI)
    halves = transcript(result("it is 4111 1111"), result("1111 1111 right?", start_ms=900))
    assert [one.text for one in finish_transcript(halves, finish).results] == [
        "it is [CREDIT_CARD_1]",
        "right?",
    ]
    halves = transcript(result("4111 1111", channel=0), result("1111 1111", channel=1))
    assert finish_transcript(halves, finish).text == "4111 1111 1111 1111"


def test_the_transcript_that_was_given_stays_as_it_was() -> None:
    given_one = transcript(result("card 4111 1111 1111 1111"))
    finish_transcript(given_one, Finish(redact=PCI))
    assert given_one.text == "card 4111 1111 1111 1111" and len(given_one.results[0].words) == 5


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18))
def test_every_card_is_found_however_it_is_grouped(digits: list[int]) -> None:
    body = "".join(map(str, [4, *digits[1:]]))
    card = next(body + str(check) for check in range(10) if luhn(body + str(check)))
    for shown in (card, " ".join(card), "-".join(card[at : at + 4] for at in range(0, len(card), 4))):
        tokens = ["so", *shown.split(), "done"]
        assert Redactor(PCI).edits(tokens, "en") == [Edit(1, len(tokens) - 1, "[CREDIT_CARD_1]")]


@given(st.text("0123456789 abc@.+-,/\n", max_size=80))
def test_no_text_is_too_odd(text: str) -> None:
    finish = finish_options({"redact": "pci,pii,numbers", "replace": ["a:b"], "numerals": "true"})
    finish_transcript(transcript(result(text), result(text, words=False)), finish)


def live(finish: Finish, *results: Result) -> list[str]:
    finisher = LiveFinisher(finish, "en")
    shown = [finisher.event(RecognizeResponse(result=one)).result for one in results]
    return [one.text for one in shown if one is not None]


def test_an_interim_shows_no_digit_of_what_may_become_a_card() -> None:
    shown = live(
        Finish(redact=PCI),
        result("card 4111", final=False),
        result("card 4111 1111 one one", final=False),
        result("card 4111 1111 1111 1111 and a@b.org", final=False),
        result("card 4111 1111 1111 1111."),
    )
    assert shown == ["card ***", "card ***", "card *** and ***", "card [CREDIT_CARD_1]."]


def test_a_number_cut_by_a_pause_is_hidden_in_both_halves() -> None:
    assert live(Finish(redact=PCI), result("it is 4111 1111"), result("1111 1111 ok")) == [
        "it is ***",
        "*** ok",
    ]
    assert live(Finish(redact=PCI), result("in 2024 we met")) == ["in 2024 we met"]


def test_an_entity_keeps_its_number_through_a_stream() -> None:
    said = result("mail a@b.org now"), result("no c@d.org"), result("yes a@b.org")
    assert live(Finish(redact=PII), *said) == [
        "mail [EMAIL_ADDRESS_1] now", "no [EMAIL_ADDRESS_2]", "yes [EMAIL_ADDRESS_1]",
    ]  # fmt: skip


def test_events_without_text_pass() -> None:
    event = RecognizeResponse(summary=Summary())
    assert LiveFinisher(Finish(redact=PCI), "en").event(event) is event


def test_replacements_are_whole_words_and_may_be_phrases() -> None:
    finish = finish_options({"replace": ["cooper netties:Kubernetes", "um:", "cat:dog"]})
    said = "Um, Cooper Netties runs the category cat."
    assert finished(said, finish) == "Kubernetes runs the category dog."


@pytest.mark.parametrize(
    ("said", "language", "shown"),
    [
        ("I have twenty three apples, and one pear.", "en", "I have 23 apples, and one pear."),
        ("Twenty-three, forty and 5.", "en", "23, 40 and 5."),
        ("on the twenty first of May two thousand and five", "en", "on the 21st of May 2005"),
        ("ich habe dreiundzwanzig Äpfel", "de-DE", "ich habe 23 Äpfel"),
        ("二十三", "ja", "二十三"),
    ],
)
def test_numerals(said: str, language: str, shown: str) -> None:
    assert finished(said, Finish(numerals=True), language) == shown


def test_search_finds_what_sounds_nearly_so() -> None:
    words = result("We use Envoy proxies and an envoi here").words
    found = search(words, ["envoy", "absent phrase"])
    assert [hit["snippet"] for hit in found[0]["hits"]] == ["Envoy", "envoi"]
    assert found[0]["hits"][0] == {"confidence": 1.0, "start": 0.2, "end": 0.28, "snippet": "Envoy"}
    assert found[1] == {"query": "absent phrase", "hits": []}


def test_words_that_are_not_those_of_the_text_are_believed() -> None:
    one = Result(text="something else", words=[Word(text="a"), Word(text="b")])
    assert apply([one], [Edit(0, 1, "x")])[0].text == "x b"


@pytest.mark.parametrize(
    "fields", [{"redact": "names"}, {"replace": ":x"}, {"numerals": "maybe"}, {"redact_pii": "perhaps"}]
)
def test_bad_options_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        finish_options(fields)


def test_nothing_asked_changes_nothing() -> None:
    one = transcript(result("card 4111 1111 1111 1111"))
    assert finish_transcript(one, finish_options({"redact_pci": "false", "numerals": "auto"})) is one
