"""One way to run a gRPC service: health, reflection, ops port, tracing, orderly end."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import grpc
from betterproto2.grpclib.grpclib_server import ServiceBase
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from common import logs, telemetry
from common.ops import Details, Readiness, start_ops
from common.pb.google_proto_descriptor_pool import default_google_proto_descriptor_pool
from common.rpc import MAX_MESSAGE_BYTES, OpenCalls, add_service
from common.settings import ServiceSettings

HEALTH_POLL_S = 0.2
# For the last status of a call to reach its caller once nothing runs any more.
GOODBYE_S = 0.2
LAST_WORDS_S = 3.0

log = logs.get_logger()


def start_process(settings: ServiceSettings) -> None:
    """Logging and telemetry of a service process; the first thing its main does."""
    logs.configure(settings.service, level=settings.log_level, fmt=settings.log_format)
    telemetry.configure(settings.service, otlp_endpoint=settings.otlp_endpoint)


async def serve(
    *servicers: ServiceBase,
    settings: ServiceSettings,
    ready: Readiness,
    background: Sequence[Coroutine[Any, Any, None]] = (),
    on_stop: Callable[[], Awaitable[None]] | None = None,
    health_details: Details | None = None,
    needed: Callable[[], bool] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains: no new work, open calls get `shutdown_grace_s`, or less when the
    signal comes again.

    The port answers at once; health turns SERVING when `ready` does and follows it ever after.

    Args:
        servicers: generated *Base subclasses.
        settings: host, ports, grace.
        ready: what the service waits for.
        background: tasks that live as long as the server (loading, watching); one that fails ends the process.
        on_stop: runs after the last call ended.
        health_details: more fields for /health.
        needed: whether requests that were let in will still call. While it is so a stop waits, within the grace, and
            the service goes on as before: others may be told to stop at the same moment. Where everybody stops in
            order (`drain_notice_s` is 0) nobody asks.
    """
    rpc = RpcServer(*servicers)
    try:
        port = rpc.server.add_insecure_port(f"{settings.host}:{settings.port}")
        ops = await start_ops(settings.ops_host, settings.ops_port, ready, health_details)
    except (RuntimeError, OSError):
        for job in background:
            job.close()
        print(
            f"✗ {settings.service} cannot start: port {settings.port} or {settings.ops_port} is in use",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    await rpc.server.start()
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, lambda: (hurry if stop.is_set() else stop).set())
    log.info("serving", port=port)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in (*background, rpc.follow(ready))]
            await stop.wait()
            if needed is not None and settings.drain_notice_s:
                await _linger(needed, settings.shutdown_grace_s, hurry)
            ready.set("draining", False, "the service is stopping")
            await asyncio.sleep(min(settings.drain_notice_s, settings.shutdown_grace_s))
            await _drain(rpc, settings.shutdown_grace_s, hurry)
            for task in tasks:
                task.cancel()
    finally:
        await rpc.server.stop(None)
        if on_stop:
            await on_stop()
        with suppress(OSError):
            await ops.cleanup()
        log.info("stopped")
        gc.freeze()  # all memory goes at once; looking through it for garbage first would take a second


async def _linger(needed: Callable[[], bool], within_s: float, hurry: asyncio.Event) -> None:
    begin = time.monotonic()
    while needed() and time.monotonic() - begin < within_s and not hurry.is_set():  # noqa: ASYNC110
        await asyncio.sleep(HEALTH_POLL_S)
    log.info("lingered", took_s=round(time.monotonic() - begin, 2), still_needed=needed())


async def _drain(rpc: "RpcServer", grace_s: float, hurry: asyncio.Event) -> None:
    begin, waiting_for = time.monotonic(), rpc.calls.count
    if waiting_for:
        logs.announce(f"… Finishing {_calls(waiting_for)}, at most {grace_s:g} s")
    cut_off = await rpc.drain(grace_s, hurry)
    took_s = round(time.monotonic() - begin, 2)
    log.info("drained", finished=waiting_for - cut_off, cut_off=cut_off, took_s=took_s)
    if cut_off:
        logs.announce(f"⚠ Cut off {_calls(cut_off)}")


def _calls(count: int) -> str:
    return f"{count} open call{'s' if count > 1 else ''}"


class RpcServer:
    """A grpc.aio server with the given services, health (not serving yet) and reflection; not started.

    Args:
        servicers: generated *Base subclasses.
        max_message_bytes: largest message in either direction.
    """

    def __init__(self, *servicers: ServiceBase, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.server = grpc.aio.server(
            interceptors=telemetry.server_interceptors(),
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.so_reuseport", 0),  # two processes on one port is a mistake, not load balancing
                # Sidecars ping quiet connections; a quiet caller is no abuse and must not lose its stream.
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )
        self.calls = OpenCalls()
        self._names = [add_service(self.server, servicer, self.calls) for servicer in servicers]
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # lazily bound
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection(
            (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self.server,
            pool=default_google_proto_descriptor_pool,
        )

    async def set_serving(self, serving: bool) -> None:
        """Answers health checks of the server and of each of its services from now on."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def drain(self, grace_s: float, hurry: asyncio.Event) -> int:
        """Takes no new calls and ends when the open ones have: after `grace_s`, or once `hurry` is set, they are cut off.

        Only calls of our services count: somebody who watches our health has nothing to finish.

        Returns:
            How many were cut off.
        """
        stopping = asyncio.create_task(self.server.stop(grace_s + LAST_WORDS_S), name="drain")
        ends = [asyncio.create_task(event.wait()) for event in (self.calls.none, hurry)]
        await asyncio.wait({stopping, *ends}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        cut_off = self.calls.count
        await self.server.stop(0 if cut_off else GOODBYE_S)
        await stopping
        with suppress(TimeoutError):  # those that were cut off still have their usage to write down
            async with asyncio.timeout(LAST_WORDS_S):
                await self.calls.none.wait()
        return cut_off

    async def follow(self, ready: Readiness) -> None:
        """Health follows readiness. Polled, so that any thread may change readiness without a loop at hand."""
        serving: bool | None = None
        while True:
            if ready.ok is not serving:
                serving = ready.ok
                await self.set_serving(serving)
                log.info("readiness", ready=serving, waiting_for=sorted(ready.reasons))
            await asyncio.sleep(HEALTH_POLL_S)
