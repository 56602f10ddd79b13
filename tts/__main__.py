"""The synthesis process: `python -m tts`."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from common.clients import SessionClient, open_channel
from common.errors import VoxmeshError
from common.logs import announce
from common.metering import Meter
from common.ops import Readiness
from common.server import serve, start_process
from common.settings import load
from tts.cache import ResultCache
from tts.engine import TtsEngine
from tts.loading import load_engine, warm_up
from tts.service import TtsService
from tts.settings import TtsSettings

WATCH_S = 0.5
EXIT_NO_MODEL = 3


class Worker:
    """The engine of this process, once there is one."""

    def __init__(self, settings: TtsSettings, ready: Readiness) -> None:
        self._settings, self._ready = settings, ready
        self.engine: TtsEngine | None = None
        ready.set("engine", False, "the voices are loading")

    async def load(self) -> None:
        """Loads every voice, then lets requests in."""
        try:
            engine = await asyncio.to_thread(load_engine, self._settings)
            await warm_up(engine)
        except (VoxmeshError, ValueError, OSError, RuntimeError) as error:
            # Nothing of a caller's is in these messages: they are about the operator's settings.
            print(f"✗ tts cannot start: {error}", file=sys.stderr, flush=True)
            raise SystemExit(EXIT_NO_MODEL) from error
        self.engine = engine
        self._ready.set("engine", True)
        announce(f"✓ Server ready on port {self._settings.port}")

    async def watch(self) -> None:
        """Readiness follows the engine."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self.engine is not None:
                healthy = self.engine.healthy
                self._ready.set("engine", healthy, "" if healthy else "the engine has stalled")

    async def close(self) -> None:
        if self.engine is not None:
            await self.engine.close()

    def details(self) -> Mapping[str, Any]:
        """More fields of /health."""
        voices = self.engine.voices if self.engine else ()
        return {"voices": [voice.name for voice in voices]}


def _cache(settings: TtsSettings, session: SessionClient) -> ResultCache | None:
    if not settings.cache:
        return None
    return ResultCache(
        session,
        max_characters=settings.cache_max_characters,
        max_bytes=settings.cache_entry_kb * 1024,
        min_uses=settings.cache_min_uses,
        ttl_s=settings.cache_ttl_s,
    )


async def main() -> None:
    settings = load(TtsSettings)
    start_process(settings)
    ready = Readiness()
    worker = Worker(settings, ready)
    channel = open_channel(settings.mesh_address)
    session = SessionClient(channel)
    meter = Meter(session)

    async def stop() -> None:
        await meter.close()
        await worker.close()
        await channel.close(None)

    await serve(
        TtsService(lambda: worker.engine, settings, _cache(settings, session), meter),
        settings=settings,
        ready=ready,
        background=[worker.load(), worker.watch()],
        on_stop=stop,
        health_details=worker.details,
    )


if __name__ == "__main__":
    asyncio.run(main())
