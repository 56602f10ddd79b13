"""Runs the session service: `python -m session`."""

import asyncio
import sys
from contextlib import suppress

from common import logs, metrics
from common.clients import LicenseClient, open_channel
from common.errors import VoxmeshError
from common.ops import Readiness
from common.pb.voxmesh.license.v1 import ValidateRequest
from common.server import serve, start_process
from common.settings import EXIT_BAD_SETTINGS, load
from session.cache import Cache
from session.jobs import KeptJobs
from session.kept import KeptStreams
from session.outbox import Outbox
from session.registry import Registry
from session.service import SessionService, unix_ms
from session.settings import SessionSettings
from session.store import Store

WATCH_S = 2.0
REPORT_TIMEOUT_S = 10.0
FLUSH_S = 5.0


async def run(settings: SessionSettings) -> None:
    """Serves until it is told to stop.

    Raises:
        InvalidArgument: REDIS_URL is wrong.
    """
    store = Store(settings.redis_url)
    blobs = Store(settings.redis_url, text=False)
    cache = _cache(blobs, settings)
    registry = Registry(store, unix_ms)
    channel = open_channel(settings.mesh_address)
    license_ = LicenseClient(channel)
    outbox = Outbox(lambda request: license_.report(request, timeout=REPORT_TIMEOUT_S))

    async def stop() -> None:
        await outbox.flush(wait_s=FLUSH_S)
        await store.close()
        await blobs.close()
        await channel.close(None)

    ready = Readiness()
    ready.set("started", True)  # without Redis sessions go on, so it is not waited for
    await serve(
        SessionService(
            license_,
            registry,
            outbox,
            cache,
            KeptStreams(blobs),
            KeptJobs(blobs, unix_ms, max_jobs=settings.jobs, max_pieces=settings.job_audio_mb),
            report_wait_s=settings.report_wait_s,
        ),
        settings=settings,
        ready=ready,
        background=[_announce(settings.port), _connect(license_), outbox.run(), _watch(store, registry)],
        on_stop=stop,
        health_details=lambda: {
            "redis": "healthy" if store.available else "unavailable",
            "sessions": len(registry),
        },
        needed=lambda: len(registry) > 0 or len(outbox) > 0,
    )


def _cache(blobs: Store, settings: SessionSettings) -> Cache | None:
    if not settings.cache_entries:
        return None
    return Cache(
        blobs,
        unix_ms,
        max_entries=settings.cache_entries,
        max_bytes=settings.cache_entry_kb * 1024,
        ttl_ms=round(settings.cache_ttl_s * 1000),
    )


async def _announce(port: int) -> None:
    logs.announce(f"✓ Server listening on port {port}")


async def _connect(license_: LicenseClient) -> None:
    """Connects before the first request needs it; without the licence service there is nothing to do yet."""
    with suppress(VoxmeshError):
        await license_.validate(ValidateRequest(), timeout=REPORT_TIMEOUT_S)


async def _watch(store: Store, registry: Registry) -> None:
    """Notices when Redis goes and comes, lets sessions lapse, keeps their gauge true."""
    shown = 0
    while True:
        await store.ping()
        registry.sweep()
        metrics.session_open.add(len(registry) - shown)
        shown = len(registry)
        await asyncio.sleep(WATCH_S)


def main() -> None:
    settings = load(SessionSettings)
    start_process(settings)
    try:
        asyncio.run(run(settings))
    except VoxmeshError as error:
        print(f"✗ session cannot start: {error.message}", file=sys.stderr, flush=True)
        sys.exit(EXIT_BAD_SETTINGS)


if __name__ == "__main__":
    main()
