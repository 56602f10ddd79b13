"""The synthesis service over real gRPC, with a synthesiser that makes tones."""

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import numpy as np
import pytest

from common.clients import TtsClient
from common.codec.decode import decode_file
from common.errors import AtCapacity, InvalidArgument, NotFound, Unavailable, VoxmeshError
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from tests.conftest import ServeRpc
from tests.fakes.synthesiser import FakeSynthesiser, make_voice
from tts.model import VoiceInfo
from tts.service import TtsService
from tts.settings import TtsSettings

RATE_HZ = 16_000
FLUSH = object()


class Heard:
    """What came back, by kind."""

    def __init__(self, responses: Sequence[pb.SynthesizeResponse]) -> None:
        self.responses = responses
        self.audio = b"".join(r.audio for r in responses if r.audio)
        self.words = [(r.word.text, r.word.start_ms, r.word.end_ms) for r in responses if r.word is not None]
        self.flushes = [r.flushed.sequence for r in responses if r.flushed is not None]
        self.started, self.summary = responses[0].started, responses[-1].summary

    @property
    def audio_ms(self) -> float:
        return len(self.audio) / 2 / RATE_HZ * 1000


async def requests(
    config: pb.SynthesizeConfig, texts: Sequence[Any], pause_s: float = 0.0
) -> AsyncIterator[pb.SynthesizeRequest]:
    yield pb.SynthesizeRequest(config=config)
    for text in texts:
        if text is FLUSH:
            yield pb.SynthesizeRequest(flush=pb.Flush())
        else:
            yield pb.SynthesizeRequest(text=text)
        await asyncio.sleep(pause_s)


def stream(
    client: TtsClient, messages: AsyncIterator[pb.SynthesizeRequest]
) -> AsyncGenerator[pb.SynthesizeResponse, None]:
    """The call as what it is: something that can be closed."""
    return cast(AsyncGenerator[pb.SynthesizeResponse, None], client.synthesize(messages))


async def speak(client: TtsClient, *texts: Any, pause_s: float = 0.0, **config: Any) -> Heard:
    call = client.synthesize(requests(pb.SynthesizeConfig(**config), texts, pause_s))
    return Heard([response async for response in call])


async def start(
    serve_rpc: ServeRpc, fake: FakeSynthesiser | None = None, **settings: Any
) -> tuple[TtsClient, FakeSynthesiser]:
    fake = fake or FakeSynthesiser()
    return TtsClient(await serve_rpc(TtsService(fake, TtsSettings(**settings)))), fake


def said(fake: FakeSynthesiser, voice: VoiceInfo | None = None) -> list[str]:
    """The clauses the engine was given, as phonemes."""
    names = {i: sign for sign, (i,) in (voice or fake.voices[0]).phoneme_id_map.items()}
    return [
        "".join(names[i] for i in clause.phoneme_ids).strip("^_$").replace("_", "")
        for _, clause in fake.spoken
    ]


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
    assert said(fake) == ["aɪ hæv twˈɛlv θˈɜːɾifˈɔːɹ kˈæts."]


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


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"speed": 0.4}, "speed must be 0.5 to 2"), ({"speed": float("nan")}, "speed"), ({"pitch": 13}, "pitch"),
        ({"volume_db": -41}, "volume_db"), ({"speaker": 1}, "speakers 0 to 0"), ({"bit_rate": 1}, "bit_rate"),
        ({"max_buffer_delay_ms": 60_001}, "max_buffer_delay_ms"), ({"markup": pb.Markup(7)}, "markup"),
        ({"format": AudioFormat(Encoding.WAV, 4_000)}, "sample_rate"),
        ({"format": AudioFormat(Encoding.WAV, 2**32 - 1)}, "sample_rate"),
        ({"format": AudioFormat(Encoding.WAV, 16_000, 2)}, "channels"),
        ({"format": AudioFormat(Encoding.OPUS)}, "cannot be written"),
        ({"format": AudioFormat(Encoding(99))}, "cannot be written"),
        ({"pronunciations": [pb.Pronunciation("a", "")]}, "pronunciation 1"),
    ],
)  # fmt: skip
async def test_bad_configs_are_refused(serve_rpc: ServeRpc, config: dict[str, Any], reason: str) -> None:
    client, _ = await start(serve_rpc)
    with pytest.raises(InvalidArgument, match=reason):
        await speak(client, "hi", **config)


async def test_unknown_voices_and_languages_are_not_found(serve_rpc: ServeRpc) -> None:
    voices = (make_voice("a"), make_voice("b", language="de-DE", espeak_voice="de"))
    client, fake = await start(serve_rpc, FakeSynthesiser(voices))
    with pytest.raises(NotFound, match="a, b") as caught:
        await speak(client, "hi", voice="c")
    assert caught.value.details == {"voices": ["a", "b"]}
    with pytest.raises(NotFound, match="de-DE, en-US"):
        await speak(client, "hi", language="fr")
    choices: list[dict[str, Any]] = [
        {"voice": "B"},
        {"language": "de"},
        {"language": "de_DE"},
        {"language": "de-AT"},
    ]
    for asked in choices:
        assert (await speak(client, "ja", **asked)).started == pb.Started(
            "b", AudioFormat(Encoding.PCM_S16LE, RATE_HZ, 1), "audio/pcm"
        )
    assert {voice for voice, _ in fake.spoken} == {"b"}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [pb.SynthesizeRequest(text="hi")],
        [pb.SynthesizeRequest()],
        [pb.SynthesizeRequest(config=pb.SynthesizeConfig(), text="hi")],
        [
            pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
            pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
        ],
        [pb.SynthesizeRequest(config=pb.SynthesizeConfig()), pb.SynthesizeRequest()],
    ],
)
async def test_messages_out_of_order_are_refused(
    serve_rpc: ServeRpc, messages: list[pb.SynthesizeRequest]
) -> None:
    client, _ = await start(serve_rpc)
    with pytest.raises(InvalidArgument):
        _ = [response async for response in client.synthesize(messages)]


async def test_cancelling_stops_the_engine(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.01] * 1_000, chunk_ms=10))
    long = requests(pb.SynthesizeConfig(), ["A rather long sentence to be cut off. " * 20])
    async with aclosing(stream(client, long)) as responses:
        async for response in responses:
            if response.audio:
                break
    await until(lambda: fake.active == 0)
    assert len(fake.spoken) == len(fake.cancelled) == 1
    made = fake.chunks
    await asyncio.sleep(0.1)
    assert fake.chunks == made


async def test_a_caller_that_does_not_listen_holds_the_engine_back(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(ms_per_id=500, chunk_ms=1_000))
    text = "This goes on and on and on for a good while. " * 200
    async with aclosing(stream(client, requests(pb.SynthesizeConfig(), [text]))) as responses:
        async for response in responses:
            if response.audio:
                break
        made = -1
        async with asyncio.timeout(20):
            while made != fake.chunks:  # until everything between here and there is full
                made = fake.chunks
                await asyncio.sleep(0.3)
        assert len(fake.spoken) < 200


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_clauses_wait_for_a_place_and_then_are_refused(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.3]), capacity=1, max_queue_size=1)
    first = asyncio.create_task(speak(client, "One."))
    await until(lambda: fake.active == 1)
    second = asyncio.create_task(speak(client, "Two."))
    await asyncio.sleep(0.1)
    with pytest.raises(AtCapacity) as caught:
        await speak(client, "Three.")
    assert caught.value.retry_after_s
    assert (await first).audio and (await second).audio


async def test_streams_are_limited(serve_rpc: ServeRpc) -> None:
    client, fake = await start(serve_rpc, FakeSynthesiser(delays_s=[0.3]), max_streams=1)
    first = asyncio.create_task(speak(client, "One."))
    await until(lambda: fake.active == 1)
    with pytest.raises(AtCapacity, match="1 streams are open"):
        await speak(client, "Two.")
    await first
    assert (await speak(client, "Three.")).audio


async def test_an_engine_that_fails_ends_the_call(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc, FakeSynthesiser(fails=Unavailable("the engine stopped")))
    with pytest.raises(Unavailable, match="the engine stopped"):
        await speak(client, "Hello.")


async def test_a_worker_that_is_not_ready_says_so(serve_rpc: ServeRpc) -> None:
    client = TtsClient(await serve_rpc(TtsService(lambda: None, TtsSettings())))
    with pytest.raises(Unavailable, match="still being loaded"):
        await client.list_voices(pb.ListVoicesRequest())
    fake = FakeSynthesiser()
    fake.healthy = False
    client, _ = await start(serve_rpc, fake)
    with pytest.raises(Unavailable, match="stalled"):
        await speak(client, "hi")


async def test_the_voices_are_listed_default_first(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc, FakeSynthesiser([make_voice("x"), make_voice("y", speakers=2)]))
    answer = await client.list_voices(pb.ListVoicesRequest())
    assert answer.voices == [
        pb.Voice("x", "en-US", RATE_HZ, 1, "medium", "fake"),
        pb.Voice("y", "en-US", RATE_HZ, 2, "medium", "fake"),
    ]


async def test_many_streams_at_once_keep_apart(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    texts = [f"Number {n} is here. And it ends." for n in range(20)]
    together = await asyncio.gather(*(speak(client, text, word_times=True) for text in texts))
    for text, heard in zip(texts, together, strict=True):
        alone = await speak(client, text, word_times=True)
        assert (heard.audio, heard.words) == (alone.audio, alone.words)


async def test_errors_of_the_text_come_after_the_audio_before_it(serve_rpc: ServeRpc) -> None:
    client, _ = await start(serve_rpc)
    audio = b""
    with pytest.raises(VoxmeshError, match="exactly one"):
        call = client.synthesize(
            [
                pb.SynthesizeRequest(config=pb.SynthesizeConfig()),
                pb.SynthesizeRequest(text="Hello there. "),
                pb.SynthesizeRequest(),
            ]
        )
        async for response in call:
            audio += response.audio or b""
    assert audio
