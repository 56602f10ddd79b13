"""The synthesis service over real gRPC, with a synthesiser that makes tones: what it says."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from common.codec.decode import decode_file
from common.errors import InvalidArgument
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.synthesiser import FakeSynthesiser, make_voice
from tests.rpc.tts_calls import FLUSH, RATE_HZ, requests, said, speak, start, stream


async def test_text_becomes_audio(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    heard = await speak(client, "Hello there. How are you?")
    assert heard.started == pb.Started("fake", AudioFormat(Encoding.PCM_S16LE, RATE_HZ, 1), "audio/pcm")
    assert said(fake) == ["həlˈoʊ ðˈɛɹ.", "hˈaʊ ɑːɹ juː?"]
    assert heard.summary is not None
    assert heard.summary.audio_ms == pytest.approx(heard.audio_ms, abs=1)
    assert heard.summary.characters == 25
    assert [r for r in heard.responses if r.summary] == [heard.responses[-1]]


async def test_sentences_are_parted_by_a_pause(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    heard = await speak(client, "One. Two.")
    ids = sum(len(clause.phoneme_ids) for _, clause in fake.spoken)
    assert heard.audio_ms == pytest.approx(ids * 5 + 120, abs=1)


async def test_audio_leaves_while_text_still_comes(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    sent: asyncio.Queue[pb.SynthesizeRequest | None] = asyncio.Queue()

    async def typed() -> AsyncIterator[pb.SynthesizeRequest]:
        while (request := await sent.get()) is not None:
            yield request

    sent.put_nowait(pb.SynthesizeRequest(config=pb.SynthesizeConfig()))
    sent.put_nowait(pb.SynthesizeRequest(text="First sentence. And"))
    async with aclosing(stream(client, typed())) as responses:
        async for response in responses:
            if response.audio:
                break
        sent.put_nowait(pb.SynthesizeRequest(text=" then."))
        sent.put_nowait(None)
        rest = [response async for response in responses]
    assert rest[-1].summary and any(response.audio for response in rest)


@pytest.mark.parametrize("size", [1, 4])
async def test_tokens_sound_like_the_whole(serve_rpc: ServeRpc, size: int) -> None:
    text = "It costs $3.50 at 5 p.m. on Monday, Dr. Smith. Yes!"
    client, fake = await start(serve_rpc)
    await speak(client, *[text[i : i + size] for i in range(0, len(text), size)])
    assert " ".join(said(fake)) == (
        "ɪt kˈɔsts θɹˈiː dˈɑːlɚz ænd fˈɪfti sˈɛnts æt fˈaɪv pˌiːˈɛm ˌɔn mˈʌndeɪ, dˈɑːktɚ smˈɪθ. jˈɛs!"
    )


async def test_a_number_over_two_messages_is_one_number(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    await speak(client, "I have 12", "34", " cats.", pause_s=0.01)
    assert said(fake) == ["aɪ hæv twˈɛlv θˈɜːɾi fˈɔːɹ kˈæts."]


async def test_a_seed_is_one_for_each_clause(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    for seed in (7, 7, 2**32 - 1, 0):
        await speak(client, "Hello there.", FLUSH, "Hello there.", seed=seed)
    seeds = [clause.seed for _, clause in fake.spoken]
    assert seeds == [7, 8, 7, 8, 2**32 - 1, 2**32, None, None]


async def test_flushes_are_answered_in_order(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    heard = await speak(client, "Hello wor", FLUSH, "ld", FLUSH, FLUSH)
    assert said(fake) == ["həlˈoʊ wˈɜː", "ˌɛldˈiː"]
    kinds = ["audio" if r.audio else "flushed" if r.flushed is not None else "" for r in heard.responses]
    assert [kind for kind in kinds if kind][-2:] == ["flushed", "flushed"]
    assert heard.flushes == [0, 1, 2]


async def test_a_delay_ends_the_wait_for_a_sentence(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    call = client.synthesize(
        requests(pb.SynthesizeConfig(max_buffer_delay_ms=50), ["hello wor", "ld again"], pause_s=0.5)
    )
    _ = [response async for response in call]
    assert said(fake)[0] == "həlˈoʊ"


@pytest.mark.parametrize("texts", [(), ("",), (" \n\t ",), ("\x00\x07",), (FLUSH,), (" ", " ", FLUSH, " ")])
async def test_nothing_to_say_is_no_audio_and_no_error(serve_rpc: ServeRpc, texts: Sequence[Any]) -> None:
    client, fake = await start(serve_rpc)
    heard = await speak(client, *texts)
    assert (heard.audio, fake.spoken) == (b"", [])
    assert heard.summary is not None and heard.summary.audio_ms == 0


@pytest.mark.parametrize(
    "text", ["a", "?", "...", "😀", "1", "Привет", "漢字", "Hi мир 世界 \x1b 😀 नमस्ते", "\u0301", "ﷺ"]
)
async def test_odd_text_is_spoken(serve_rpc: ServeRpc, text: str) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(client, text)
    assert heard.summary is not None and heard.summary.audio_ms > 0


async def test_symbols_beside_words_stay_silent(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    await speak(client, "Hi! 😀 ... ")
    assert said(fake) == ["hˈaɪ!"]


async def test_ten_thousand_characters(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(ms_per_id=1, chunk_ms=1000))
    text = ("The quick brown fox, as they say, jumps over 13 lazy dogs. " * 170)[:10_000]
    heard = await speak(client, text)
    assert heard.summary is not None and heard.summary.characters == 10_000
    assert len(fake.spoken) == pytest.approx(170, abs=2)


async def test_too_much_text_is_refused(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc, max_text_characters=1_000)
    with pytest.raises(InvalidArgument, match="at most 1000 characters") as caught:
        await speak(client, "x" * 1_001)
    assert caught.value.details == {"max_characters": 1_000}
    with pytest.raises(InvalidArgument, match="at most 1000 characters"):
        await speak(client, "x " * 300, "x " * 300)


async def test_word_times_run_on_over_clauses_and_pauses(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(client, "One two. Three!", word_times=True)
    assert [word for word, _, _ in heard.words] == ["One", "two.", "Three!"]
    flat = [ms for _, start_ms, end_ms in heard.words for ms in (start_ms, end_ms)]
    assert flat == sorted(flat)
    assert flat[4] - flat[3] > 120  # the pause between the sentences
    assert flat[-1] <= heard.audio_ms


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
async def test_word_times_do_not_depend_on_the_output_rate(serve_rpc: ServeRpc, rate_hz: int) -> None:
    client, _ = await start(serve_rpc)
    native = await speak(client, "One two. Three!", word_times=True)
    other = await speak(
        client, "One two. Three!", word_times=True, format=AudioFormat(sample_rate_hz=rate_hz)
    )
    assert other.words == native.words
    assert len(other.audio) / rate_hz == pytest.approx(len(native.audio) / RATE_HZ, abs=0.01)


async def test_words_come_before_their_audio(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    heard_ms = 0.0
    call = client.synthesize(requests(pb.SynthesizeConfig(word_times=True), ["One two three four five six."]))
    async for response in call:
        if response.word:
            assert response.word.start_ms >= heard_ms - 1
        if response.audio:
            heard_ms += len(response.audio) / 2 / RATE_HZ * 1000


async def test_no_word_times_unless_asked(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    assert (await speak(client, "One two.")).words == []


async def test_speed_and_pitch_and_volume(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    plain = await speak(client, "Hello there my friend.", word_times=True)
    fast = await speak(client, "Hello there my friend.", speed=2.0)
    assert fast.audio_ms == pytest.approx(plain.audio_ms / 2, rel=0.02)
    high = await speak(client, "Hello there my friend.", pitch=12.0, word_times=True)
    assert high.audio_ms == pytest.approx(plain.audio_ms, rel=0.02)
    assert fake.spoken[-1][1].speed == pytest.approx(0.5)
    assert dominant_hz(high.audio) == pytest.approx(2 * dominant_hz(plain.audio), rel=0.02)
    assert [start_ms for _, start_ms, _ in high.words] == pytest.approx([s for _, s, _ in plain.words], abs=2)
    quiet = await speak(client, "Hello there my friend.", volume_db=-20.0)
    assert loudness(quiet.audio) == pytest.approx(loudness(plain.audio) / 10, rel=0.02)
    loud = await speak(client, "Hello there my friend.", volume_db=20.0)
    assert loudness(plain.audio) < loudness(loud.audio) < 32_767  # bent, not clipped


def dominant_hz(audio: bytes) -> float:
    samples = np.frombuffer(audio, "<i2").astype(np.float64)
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples))


def loudness(audio: bytes) -> float:
    return float(np.abs(np.frombuffer(audio, "<i2").astype(np.float64)).max())


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "content_type"),
    [
        (Encoding.WAV, 24_000, "audio/wav"), (Encoding.MP3, 44_100, "audio/mpeg"),
        (Encoding.OGG_OPUS, 48_000, "audio/ogg"), (Encoding.FLAC, 16_000, "audio/flac"),
        (Encoding.AAC, 22_050, "audio/aac"),
    ],
)  # fmt: skip
async def test_every_format_decodes_to_the_same_length(
    serve_rpc: ServeRpc, encoding: Encoding, rate_hz: int, content_type: str
) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(client, "Hello there. How are you?", format=AudioFormat(encoding, rate_hz))
    assert heard.started is not None and heard.summary is not None
    assert (heard.started.content_type, heard.started.format) == (
        content_type,
        AudioFormat(encoding, rate_hz, 1),
    )
    decoded_ms = sum(map(len, decode_file(heard.audio))) / 2 / RATE_HZ * 1000
    assert decoded_ms == pytest.approx(heard.summary.audio_ms, abs=120)


async def test_wav_without_words_is_an_empty_file(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(client, " ", format=AudioFormat(Encoding.WAV))
    with wave.open(io.BytesIO(heard.audio)) as file:
        assert (file.getframerate(), file.getnchannels(), file.readframes(10)) == (RATE_HZ, 1, b"")


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
async def test_telephone_formats(serve_rpc: ServeRpc, encoding: Encoding) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(client, "Hello there.", format=AudioFormat(encoding, 8_000))
    assert heard.summary is not None
    assert len(heard.audio) / 8 == pytest.approx(heard.summary.audio_ms, abs=2)


async def test_pronunciations(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc)
    await speak(client, "A tomato.", pronunciations=[pb.Pronunciation("Tomato", "/təˈmɑːtoʊ/")])
    assert said(fake) == ["ɐ təˈmɑːtoʊ."]


async def test_ssml(serve_rpc: ServeRpc) -> None:
    voices = (make_voice(), make_voice("deep", rate_hz=8_000, speakers=3))
    client, fake = await start(serve_rpc, FakeSynthesiser(voices))
    heard = await speak(
        client,
        '<speak>One <sub alias="two">2nd</sub> <break time="500ms"/> <prosody rate="slow" volume="soft">three</prosody>',
        '<voice name="deep">four</voice></speak> \n',
        markup=pb.Markup.SSML,
        word_times=True,
    )
    assert said(fake) == ["wˈʌn tˈuː", "θɹˈiː", "fˈɔːɹ"]
    assert [(voice, clause.speed) for voice, clause in fake.spoken] == [
        ("fake", 1.0),
        ("fake", 0.75),
        ("deep", 1.0),
    ]
    words = {text: start_ms for text, start_ms, _ in heard.words}
    assert list(words) == ["One", "2nd", "three", "four"]
    assert words["three"] - words["2nd"] > 500
    assert heard.summary is not None and heard.summary.audio_ms == pytest.approx(heard.audio_ms, abs=1)


async def test_a_thousand_breaks(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    heard = await speak(
        client, "<speak>a" + '<break time="20ms"/>' * 1_000 + "b</speak>", markup=pb.Markup.SSML
    )
    assert heard.summary is not None and heard.summary.audio_ms > 20_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<speak>a", "line 1"), ("plain", "line 1"), ("<speak>\n<foo/></speak>", "line 2, column 1: <foo>"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><speak>&a;</speak>', "DTD or entity"),
    ],
)  # fmt: skip
async def test_bad_ssml_is_refused_before_any_sound(serve_rpc: ServeRpc, text: str, reason: str) -> None:
    client, fake = await start(serve_rpc)
    with pytest.raises(InvalidArgument, match=reason):
        await speak(client, text, markup=pb.Markup.SSML)
    assert fake.spoken == []
