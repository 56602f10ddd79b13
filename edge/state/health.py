"""How the mesh is doing, watched in the background; no request waits for a health check."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from common import logs
from common.clients import AsrClient, TtsClient, check_health
from common.errors import Unavailable, VoxmeshError
from common.pb.voxmesh.asr.v1 import ListModelsRequest, Model
from common.pb.voxmesh.tts.v1 import ListVoicesRequest, Voice
from edge.values import Json

log = logs.get_logger()

SERVICES = ("asr", "tts", "license", "session")
# The health method is the same for every service; this tells the sidecar whose is meant.
SERVICE_HEADER = "x-voxmesh-service"
INTERVAL_S = 1.0
CHECK_TIMEOUT_S = 2.0
CATALOGUE_INTERVAL_S = 30.0

_MISSING = {
    "asr": "No ASR workers available",
    "tts": "No TTS workers available",
    "license": "License service unavailable",
    "session": "Session service unavailable",
}
# Names of the components in the detailed answer that existing dashboards read.
_COMPONENTS = {"lightning_asr": "asr", "lightning_tts": "tts", "license_proxy": "license", "redis": "session"}


@dataclass(slots=True)
class Health:
    """The last known state of the services and what they can do."""

    required: tuple[str, ...] = SERVICES
    serving: dict[str, bool] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)  # by service; empty when nobody says
    draining: bool = False
    started_at: float = field(default_factory=time.monotonic)

    @property
    def reason(self) -> str:
        """Why the edge should get no work; empty when it should."""
        if self.draining:
            return "The server is stopping"
        return next((_MISSING[name] for name in self.required if not self.serving.get(name)), "")

    def require(self, service: str) -> None:
        """Raises Unavailable when `service` is known to be gone: before an upgrade, while HTTP can still say so."""
        if not self.serving.get(service, True):
            raise Unavailable(_MISSING[service], retry_after_s=30)

    def component(self, name: str) -> str:
        """State of one component by the name dashboards know, or by the service's own."""
        return "healthy" if self.serving.get(_COMPONENTS.get(name, name)) else "unhealthy"

    def brief(self) -> tuple[int, Json]:
        """Status and body of GET /health."""
        if reason := self.reason:
            return 503, {"status": "unhealthy", "reason": reason}
        return 200, {"status": "healthy"}

    def detailed(self, version: str) -> tuple[int, Json]:
        """Status and body of GET /health?detailed=true."""
        status, body = self.brief()
        components = {name: self.component(name) for name in _COMPONENTS}
        return status, {
            **body,
            "components": {"api_server": "healthy", **components},
            "workers": {
                name: self.workers[service]
                for name, service in _COMPONENTS.items()
                if service in self.workers
            },
            "uptime_seconds": int(time.monotonic() - self.started_at),
            "version": version,
        }


async def watch(health: Health, channel: Any, asr: AsrClient, tts: TtsClient) -> None:
    """Keeps `health` true until cancelled."""
    catalogue_at = 0.0
    while True:
        checks = (
            check_health(
                channel,
                f"voxmesh.{name}.v1.{name.capitalize()}Service",
                timeout_s=CHECK_TIMEOUT_S,
                metadata=((SERVICE_HEADER, name),),
            )
            for name in SERVICES
        )
        for name, serving in zip(SERVICES, await asyncio.gather(*checks), strict=True):
            if health.serving.get(name) is not serving:
                log.info("service_health", of=name, serving=serving)
                health.serving[name] = serving
                catalogue_at = 0.0
        if time.monotonic() >= catalogue_at:
            complete = await refresh_catalogue(health, asr, tts)
            catalogue_at = time.monotonic() + (CATALOGUE_INTERVAL_S if complete else INTERVAL_S)
        await asyncio.sleep(INTERVAL_S)


async def refresh_catalogue(health: Health, asr: AsrClient, tts: TtsClient) -> bool:
    """Asks for models and voices; False when somebody who is up did not answer."""
    complete = True
    if health.serving.get("asr"):
        try:
            health.models = (await asr.list_models(ListModelsRequest(), timeout=CHECK_TIMEOUT_S)).models
        except VoxmeshError:
            complete = False
    if health.serving.get("tts"):
        try:
            health.voices = (await tts.list_voices(ListVoicesRequest(), timeout=CHECK_TIMEOUT_S)).voices
        except VoxmeshError:
            complete = False
    return complete
