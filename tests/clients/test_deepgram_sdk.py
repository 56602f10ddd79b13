"""The SDK of Deepgram for Python, unchanged; only its addresses are ours."""

import io
import wave
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web

from common.pb.voxmesh.license.v1 import Kind
from tests.clients.calls import blocking, wav
from tests.fakes.asr_servicer import speech
from tests.fakes.edge_app import Edge
from tests.fakes.tts_servicer import MS_PER_CHAR, VOICE

deepgram = pytest.importorskip("deepgram", reason="the client comes with the extra `clients`")
ApiError = pytest.importorskip("deepgram.core.api_error").ApiError
Make = Callable[..., Any]


@pytest.fixture
def client(edge: Edge) -> Iterator[Make]:
    """Makes clients; they share connections, which the SDK itself never closes."""
    from deepgram.environment import DeepgramClientEnvironment

    sockets = "ws" + edge.url.removeprefix("http")
    environment = DeepgramClientEnvironment(
        base=edge.url, production=sockets, agent=sockets, agent_rest=edge.url
    )
    with httpx.Client() as http:

        def make(key: str = "good") -> Any:
            return deepgram.DeepgramClient(
                api_key=key, environment=environment, max_retries=0, httpx_client=http
            )

        yield make


async def test_a_file(client: Make, edge: Edge) -> None:
    def run() -> Any:
        return client().listen.v1.media.transcribe_file(
            request=wav(speech([1, 2, 0, 3])),
            model="nova-3",
            smart_format=True,
            utterances=True,
            keyterm=["one", "two"],
        )

    answer = await blocking(run)
    best = answer.results.channels[0].alternatives[0]
    assert best.transcript == "w1 w2 w3"
    assert [(word.word, word.punctuated_word) for word in best.words][0] == ("w1", "w1")
    assert (answer.metadata.duration, answer.metadata.channels) == (pytest.approx(0.4), 1)
    assert len(answer.metadata.sha256) == 64
    assert answer.results.utterances
    assert [one.phrase for one in edge.asr.configs[0].keyterms] == ["one", "two"]


async def test_an_address(client: Make, edge: Edge, serve_file: Callable[[bytes], Any]) -> None:
    address = await serve_file(wav(speech([4, 5])))
    answer = await blocking(
        lambda: client().listen.v1.media.transcribe_url(url=address, model="nova-3", detect_language=True)
    )
    assert answer.results.channels[0].alternatives[0].transcript == "w4 w5"


@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("expired", 403), ("busy", 429)])
async def test_refusals(client: Make, key: str, status: int) -> None:
    with pytest.raises(ApiError) as refused:
        await blocking(lambda: client(key).listen.v1.media.transcribe_file(request=wav(speech([1]))))
    assert refused.value.status_code == status
    assert refused.value.body["err_code"]


async def test_live(client: Make, edge: Edge) -> None:
    def run() -> list[Any]:
        events: list[Any] = []
        options = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000}
        with client().listen.v1.connect(**options, interim_results=True, vad_events=True) as socket:
            socket.send_keep_alive()
            socket.send_media(speech([1, 2]))
            socket.send_finalize()
            while not events or not getattr(events[-1], "from_finalize", False):
                events.append(socket.recv())
            socket.send_media(speech([3]))
            socket.send_close_stream()
            events += list(socket)
        return events

    events = await blocking(run)
    assert [event.type for event in events[:2]] == ["SpeechStarted", "Results"]
    results = [event for event in events if event.type == "Results"]
    assert all(one.metadata.request_id and one.channel_index == [0, 1] for one in results)
    finals = [one.channel.alternatives[0].transcript for one in results if one.is_final]
    assert finals == ["w1 w2", "w3"]
    assert (events[-1].type, events[-1].duration) == ("Metadata", pytest.approx(0.3))
    await edge.until_closed(1)
    usage = edge.sessions.closed[0].usage
    assert usage and (usage.kind, usage.audio_ms) == (Kind.LISTEN_STREAM, 300)


async def test_new_keyterms_while_listening(client: Make, edge: Edge) -> None:
    from deepgram.listen.v1.types import ListenV1Configure

    def run() -> list[Any]:
        options = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000}
        with client().listen.v1.connect(**options) as socket:
            socket.send_media(speech([1]))
            socket.send_configure(ListenV1Configure(type="Configure", keyterms=["walls"]))
            socket.send_media(speech([2]))
            socket.send_close_stream()
            return list(socket)

    events = await blocking(run)
    assert "ConfigureSuccess" in [event.type for event in events]
    finals = [one.channel.alternatives[0].transcript for one in events if one.type == "Results"]
    assert " ".join(finals).split() == ["w1", "w2"]
    assert [one.phrase for one in edge.asr.configs[-1].keyterms] == ["walls"]


async def test_the_turns_of_flux(client: Make, edge: Edge) -> None:
    from deepgram.listen.v2.types import ListenV2Configure, ListenV2ConfigureThresholds

    thresholds = ListenV2ConfigureThresholds(eager_eot_threshold=0.4)

    def run() -> list[Any]:
        events: list[Any] = []
        options = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": 16_000}
        with client().listen.v2.connect(
            **options, keyterm=["one", "two"], eot_threshold=0.8, tag=["a", "b"], mip_opt_out=True
        ) as socket:

            def until(event: str) -> None:
                while not events or getattr(events[-1], "event", events[-1].type) != event:
                    events.append(socket.recv())

            socket.send_media(speech([1, 2, 0]))
            until("EndOfTurn")
            socket.send_configure(ListenV2Configure(keyterms=["three"], thresholds=thresholds))
            until("ConfigureSuccess")
            socket.send_media(speech([3, 4]))
            socket.send_force_end_turn()
            until("EndOfTurn")
            socket.send_media(speech([5]))
            socket.send_close_stream()
            return [*events, *socket]

    events = await blocking(run)
    assert [type(event).__name__ for event in events[:2]] == ["ListenV2Connected", "ListenV2TurnInfo"]
    assert [event.sequence_id for event in events] == list(range(len(events)))
    infos = [event for event in events if event.type == "TurnInfo"]
    assert [one.event for one in infos[:3]] == ["StartOfTurn", "Update", "EndOfTurn"]
    ends = [(one.turn_index, one.transcript, one.trigger) for one in infos if one.event == "EndOfTurn"]
    assert ends == [(0, "w1 w2", "model"), (1, "w3 w4", "manual"), (2, "w5", "stream_end")]
    assert [(word.word, word.end) for word in infos[2].words] == [("w1", 0.1), ("w2", 0.2)]
    assert infos[2].end_of_turn_confidence == pytest.approx(0.8, abs=0.01)
    [answer] = [event for event in events if event.type == "ConfigureSuccess"]
    assert (answer.keyterms, answer.thresholds.eager_eot_threshold) == (["three"], 0.4)
    assert [[one.phrase for one in config.keyterms] for config in edge.asr.configs] == [
        ["one", "two"], ["three"]
    ]  # fmt: skip


async def test_flux_out_of_range(client: Make) -> None:
    def run() -> None:
        with client().listen.v2.connect(model="flux-general-en", eot_threshold=0.2):
            pass

    with pytest.raises(Exception, match="400"):
        await blocking(run)


async def test_a_socket_with_a_bad_key(client: Make) -> None:
    def run() -> None:
        with client("wrong").listen.v1.connect(model="nova-3"):
            pass

    with pytest.raises(Exception, match="401"):
        await blocking(run)


async def test_speak(client: Make) -> None:
    def run(**options: Any) -> bytes:
        return b"".join(client().speak.v1.audio.generate(text="Hello world.", **options))

    headerless = await blocking(
        lambda: run(encoding="linear16", container="none", sample_rate=16_000, model="aura-2-thalia-en")
    )
    assert len(headerless) == 12 * MS_PER_CHAR * 32
    with wave.open(io.BytesIO(await blocking(lambda: run(encoding="linear16", container="wav")))) as file:
        assert file.getnframes() == 12 * MS_PER_CHAR * 24
    assert (await blocking(run))[:3] == b"ID3" or (await blocking(run))[:1] == b"\xff"


async def test_the_speaking_socket(client: Make) -> None:
    from deepgram.speak.v1.types import SpeakV1Text

    def run() -> list[Any]:
        with client().speak.v1.connect(
            model="aura-2-thalia-en", encoding="linear16", sample_rate=16_000
        ) as socket:
            socket.send_text(SpeakV1Text(type="Speak", text="Hello world."))
            socket.send_flush()
            events = [socket.recv()]
            while isinstance(events[-1], bytes) or events[-1].type != "Flushed":
                events.append(socket.recv())
            socket.send_close()
            return [*events, *socket]

    events = await blocking(run)
    assert events[0].type == "Metadata"
    assert len(b"".join(one for one in events if isinstance(one, bytes))) == 12 * MS_PER_CHAR * 32


async def test_models(client: Make) -> None:
    found = await blocking(client().manage.v1.models.list)
    assert [one.name for one in found.stt] == ["fake-base"]
    assert [one.name for one in found.tts] == [VOICE]


@pytest.fixture
async def serve_file() -> Any:
    """Serves bytes; returns the address."""
    runners = []

    async def serve(data: bytes) -> str:
        app = web.Application()

        async def give(_: web.Request) -> web.Response:
            return web.Response(body=data)

        app.router.add_get("/a.wav", give)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/a.wav"

    yield serve
    for runner in runners:
        await runner.cleanup()
