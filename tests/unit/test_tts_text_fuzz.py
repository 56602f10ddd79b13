"""Whatever text comes, it is read: no crash, no digit left over, nothing lost between segments."""

from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidArgument
from tests.fakes.synthesiser import make_voice
from tts.text.phonemes import PhonemeEncoder
from tts.text.reader import Reader
from tts.text.segment import Segmenter
from tts.text.ssml import parse_ssml

ATOMS = [
    *"0123456789.,:;-–—/'\"$€£%°()[]{}#@&+=*_~²½٣Ⅳ① \n\t", "p.m.", "am", "km", "St.", "Dr.", "XIV", "Louis", "January",
    "1st", "million", "USD", "$5", "(555)", "http://", "www.", "a", "B", "word", "T10:00", "é", "你", "😀", "\u200d",
    "\U000f0000", "[[", "]]", "[x](/y/)", "No.", "'s", "n’t", "1/2", "x²",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(ATOMS) | st.text(max_size=3), max_size=25).map("".join)
READER, ENCODER = Reader("en-US"), PhonemeEncoder(make_voice())


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_is_read(text: str) -> None:
    words = READER.read(text)
    assert not any(char.isdecimal() for word in words for char in word.spoken)
    for clause in ENCODER.encode(words):
        assert 0 < len(clause.ids) <= ENCODER.voice.max_clause_ids
        assert all(0 <= span.first_id <= span.last_id < len(clause.ids) for span in clause.spans)


@settings(max_examples=300, deadline=None)
@given(TEXT, st.integers(1, 9))
def test_any_text_is_cut_without_loss(text: str, size: int) -> None:
    segmenter = Segmenter()
    pieces = [s for i in range(0, len(text), size) for s in segmenter.push(text[i : i + size])]
    cut = "".join(segment.text for segment in [*pieces, *segmenter.flush()])
    assert "".join(cut.split()) == "".join(text.split())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<speak>", "</speak>", "<p>", "</p>", "<break time='1s'/>", "<s/>", "<x>", "&", "&lt;",
                                 "<sub alias='a'>", "</sub>", "]]>", "<!--", "<?x?>", "hi", "\x00", "😀"]), max_size=12))  # fmt: skip
def test_any_ssml_is_parsed_or_refused(parts: list[str]) -> None:
    try:
        parse_ssml("".join(parts))
    except InvalidArgument as error:
        assert str(error).startswith("bad SSML at line")
