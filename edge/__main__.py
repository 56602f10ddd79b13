"""`python -m edge`: serves HTTP and WebSocket on PORT (7100)."""

import asyncio
import gc
import signal
import sys

import uvloop
from aiohttp import web

from common import logs
from common.logs import announce
from common.server import start_process
from common.settings import load
from edge.app import build_app
from edge.doors.listeners import PortTaken
from edge.drain import CUT_OFF_S, drain
from edge.mesh import MESH
from edge.settings import EdgeSettings

log = logs.get_logger()

_POLL_S = 0.2
_GC_THRESHOLDS = (50_000, 20, 50)


async def serve(settings: EdgeSettings) -> None:
    """Serves until SIGTERM or SIGINT, then drains: open requests get `shutdown_grace_s`."""
    app = await build_app(settings)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # a client that hangs up stops the model
        shutdown_timeout=CUT_OFF_S,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        port = error.port if isinstance(error, PortTaken) else settings.port
        print(f"✗ edge cannot start: port {port} is in use", file=sys.stderr)
        raise SystemExit(1) from None
    # What is there now stays; looking through it again and again would make every stream wait.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    announce(f"✓ API server listening on port {settings.port}")
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    announcing = asyncio.create_task(_announce_services(app, settings), name="announce services")
    await stop.wait()
    announcing.cancel()
    app[MESH].health.draining = True
    await asyncio.sleep(min(settings.drain_notice_s, settings.shutdown_grace_s))
    await drain(runner, settings.shutdown_grace_s)
    log.info("stopped")


async def _announce_services(app: web.Application, settings: EdgeSettings) -> None:
    waiting = {
        "asr": f"✓ Connected to Lightning ASR at {settings.asr_base_url or settings.mesh_address}",
        "license": "✓ License validation successful",
    }
    while waiting:
        for name in [name for name in waiting if app[MESH].health.serving.get(name)]:
            announce(waiting.pop(name))
        await asyncio.sleep(_POLL_S)


def main() -> None:
    """Settings, logs, serve."""
    settings = load(EdgeSettings)
    start_process(settings)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
