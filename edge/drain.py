"""The end of the edge: nothing new comes in, what is open is finished, and whoever speaks live hears the last words."""

import asyncio
import time

from aiohttp import web

from common import logs
from common.logs import announce
from common.pb.voxmesh.license.v1 import Kind
from edge.mesh import MESH, Mesh

# At the end of the grace, for the last words of sockets whose clients would go on.
LAST_WORDS_S = 3.0
# For an answer to leave and its usage to be written down, once nothing else is left of a request.
CUT_OFF_S = 2.0
_POLL_S = 0.05

log = logs.get_logger()


async def drain(runner: web.AppRunner, grace_s: float) -> None:
    """Closes the ports, ends when the open requests have or after `grace_s`, and cleans up.

    Live sockets that are still open towards the end are ended as if their clients had closed them: they are told what
    was said so far, and that the server goes away (1001).
    """
    mesh: Mesh = runner.app[MESH]
    begin = time.monotonic()
    mesh.activity.closed = True
    for site in list(runner.sites):
        await site.stop()
    mesh.closing.set()
    waiting_for = _open(mesh)
    if waiting_for:
        announce(f"… Finishing {_requests(waiting_for)}, at most {grace_s:g} s")
    last_words_s = min(LAST_WORDS_S, grace_s / 2)
    if not await _idle(mesh, grace_s - last_words_s):
        for socket in list(mesh.sockets):
            socket.go_away()
        await _idle(mesh, last_words_s)
    cut_off = _open(mesh)
    mesh.over.set()
    # Not before: from here on aiohttp drops what clients send.
    await runner.cleanup()
    took_s = round(time.monotonic() - begin, 2)
    log.info("drained", finished=waiting_for - cut_off, cut_off=cut_off, took_s=took_s)
    if cut_off:
        announce(f"⚠ Cut off {_requests(cut_off)}")


def _open(mesh: Mesh) -> int:
    # Some have not been let in yet, others come over other ports.
    return max(mesh.requests, mesh.activity.active(*Kind))


def _requests(count: int) -> str:
    return f"{count} open request{'s' if count > 1 else ''}"


async def _idle(mesh: Mesh, within_s: float) -> bool:
    """Whether the last request ended within this time."""
    deadline = time.monotonic() + within_s
    while _open(mesh):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
