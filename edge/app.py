"""The HTTP application: routes, and the life of what they share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from aiohttp import web

from common.clients import AsrClient, LicenseClient, LiveAsrClient, SessionClient, TtsClient, open_channel
from common.metering import Deliveries
from edge import middleware
from edge.api.docs import add_docs
from edge.api.pages import add_pages
from edge.doors.listeners import add_listeners
from edge.doors.twilio import add_twilio
from edge.keys import KnownKeys
from edge.listening.fetch import Fetcher
from edge.listening.job_store import JobStore
from edge.listening.jobs import add_jobs
from edge.listening.keeper import Keeper
from edge.listening.listen import recognise_again
from edge.listening.s3 import S3Signer
from edge.mesh import MESH, Mesh
from edge.quiet import drop_bad_requests
from edge.routes import add_routes
from edge.settings import EdgeSettings
from edge.speaking.dictionaries import Dictionaries
from edge.state import probes
from edge.state.activity import Activity
from edge.state.health import Health, watch
from edge.state.workers import watch_workers


async def build_app(settings: EdgeSettings) -> web.Application:
    """The application; it opens its channel to the sidecar at start and closes it at the end."""
    drop_bad_requests()
    channel = open_channel(settings.mesh_address)
    session = SessionClient(channel)
    app = web.Application(middlewares=[middleware.identify], client_max_size=settings.max_request_bytes)
    app[MESH] = Mesh(
        settings=settings,
        channel=channel,
        asr=AsrClient(channel),
        live=LiveAsrClient(settings.mesh_address),
        tts=TtsClient(channel),
        session=session,
        fetcher=Fetcher(
            timeout_s=settings.fetch_timeout_s, allow_private=settings.fetch_private, s3=S3Signer(settings)
        ),
        keeper=Keeper(session, every_s=settings.resume_interval_s, enabled=settings.resume),
        health=Health(required=settings.required),
        known_keys=KnownKeys(LicenseClient(channel)),
        dictionaries=Dictionaries(settings.state_dir / "dictionaries"),
        activity=Activity(),
        usage=Deliveries(session),
    )
    app.on_response_prepare.append(middleware.on_prepare)
    app.cleanup_ctx.append(_watching)
    add_listeners(app)
    app.add_routes(
        [
            web.get("/health", probes.health),
            web.get("/health/{part}", probes.part),
            web.get("/healthz", probes.healthz),
            web.get("/ready", probes.healthz),
            web.get("/api/v1/health", probes.alive),
            web.get("/waves/v1/health", probes.waves_health),
            web.get("/metrics", probes.metrics),
        ]
    )
    add_routes(app)
    add_jobs(app, settings, JobStore(session), partial(recognise_again, app[MESH]))
    add_twilio(app, settings.twilio_path)
    add_pages(app)
    add_docs(app, settings.twilio_path)
    return app


async def _watching(app: web.Application) -> AsyncIterator[None]:
    mesh = app[MESH]
    task = asyncio.create_task(watch(mesh.health, mesh.channel, mesh.asr, mesh.tts), name="health watch")
    tasks = [task]
    if mesh.keeper.enabled:
        tasks.append(asyncio.create_task(mesh.keeper.run(), name="keeper"))
    if mesh.settings.sidecar_admin:
        counting = watch_workers(mesh.health, mesh.settings.sidecar_admin)
        tasks.append(asyncio.create_task(counting, name="worker watch"))
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await mesh.keeper.close()
    await mesh.fetcher.close()
    await mesh.live.close()
    await mesh.usage.close()
    await mesh.channel.close()
