"""What every handler needs: settings, clients of the services, the state of the mesh."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakSet

from aiohttp import web

from common.clients import AsrClient, LiveAsrClient, SessionClient, TtsClient
from common.errors import InvalidArgument, Unauthenticated
from common.metering import Deliveries
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission, admit
from edge.keys import KnownKeys, find_key
from edge.listening.fetch import Fetcher
from edge.listening.keeper import Keeper
from edge.listening.requests import ListenOptions, SpeakOptions
from edge.settings import EdgeSettings
from edge.speaking.dictionaries import Dictionaries
from edge.speaking.voices import resolve_voice
from edge.state.activity import Activity
from edge.state.health import Health

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSION = "0.1.0"
# Lists travel in one gRPC message, which may have 4 MiB; a character may have four bytes.
MAX_LIST_CHARS = 500_000
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)


class GoingAway(Protocol):
    """A socket that can be ended from our side."""

    def go_away(self) -> None: ...


@dataclass(slots=True)
class Mesh:
    """The edge's side of the mesh."""

    settings: EdgeSettings
    channel: Any  # the one channel to the sidecar
    asr: AsrClient
    live: LiveAsrClient
    tts: TtsClient
    session: SessionClient
    fetcher: Fetcher
    keeper: Keeper
    health: Health
    known_keys: KnownKeys
    dictionaries: Dictionaries
    activity: Activity
    usage: Deliveries
    requests: int = 0  # over HTTP, that are being answered now
    sockets: WeakSet[GoingAway] = field(default_factory=WeakSet)  # open ones
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # listeners take no more
    over: asyncio.Event = field(default_factory=asyncio.Event)  # what is still open is cut off

    def key_of(self, request: web.Request) -> str:
        """The caller's key; raises Unauthenticated."""
        try:
            return find_key(request.headers, request.query)
        except Unauthenticated:
            if self.settings.anonymous and self.settings.license_key:
                return self.settings.license_key
            raise

    async def check_key(self, request: web.Request) -> None:
        """For what costs nothing: the key has to be good, no lease is taken.

        Raises:
            Unauthenticated, LicenseExpired: it is not.
            Unavailable, DeadlineExceeded: nobody can say.
        """
        await self.known_keys.check(self.key_of(request))

    def admit(
        self, request: web.Request, kind: Kind, dialect: str, external_id: str = ""
    ) -> AbstractAsyncContextManager[Admission]:
        """Lets a request in for its length; see `edge.admission.admit`."""
        return admit(
            self.session,
            key=self.key_of(request),
            kind=kind,
            dialect=dialect,
            request_id=request[REQUEST_ID],
            external_id=external_id,
            timeout_s=self.settings.admission_timeout_s,
            activity=self.activity,
            usage=self.usage,
        )

    def fit_listen(self, options: ListenOptions) -> ListenOptions:
        """Foreign model names ("nova-3", "pulse", "whisper-1") mean: choose. Ours mean what they say."""
        _check_size("key terms", (phrase for phrase, _ in options.keyterms))
        known = {model.name for model in self.health.models}
        return options if options.model in known else replace(options, model="")

    async def with_dictionaries(self, request: web.Request, options: SpeakOptions) -> SpeakOptions:
        """The caller's dictionaries as pronunciations, which come before those of the request itself.

        Raises:
            NotFound: the caller has no such dictionary.
        """
        if not options.dictionaries:
            return options
        kept = await self.dictionaries.items(self.key_of(request), options.dictionaries)
        return replace(options, pronunciations=kept + options.pronunciations, dictionaries=())

    def fit_speak(self, options: SpeakOptions) -> SpeakOptions:
        """Stock voice names of other vendors become the default voice; an unknown one is refused by the service."""
        _check_size("pronunciations", (part for pair in options.pronunciations for part in pair))
        names = [voice.name for voice in self.health.voices]
        return replace(options, voice=resolve_voice(options.voice, names))


def _check_size(name: str, parts: Iterable[str]) -> None:
    if sum(map(len, parts)) > MAX_LIST_CHARS:
        raise InvalidArgument(f"{name} must have at most {MAX_LIST_CHARS} characters together")


MESH: web.AppKey[Mesh] = web.AppKey("mesh", Mesh)
