"""betterproto2 services over grpc.aio: the one module that knows both.

betterproto2 generates grpclib servers and stubs only; here its message types and method tables meet grpc.aio.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, NoReturn, Self

import grpc
import structlog
from betterproto2.grpclib.grpclib_client import ServiceStub
from betterproto2.grpclib.grpclib_server import ServiceBase
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpclib.exceptions import GRPCError

from common import errors, metrics
from common.caller import Caller, caller
from common.decode import decode
from common.logs import get_logger

log = get_logger()

# A caller's message is at most 1 MiB of audio plus framing; answers stay below that too.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
HEAR_OUT_S = 0.25


class OpenCalls:
    """Calls that run now."""

    def __init__(self) -> None:
        self.count = 0
        self.none = asyncio.Event()
        self.none.set()

    def add(self, change: int) -> None:
        self.count += change
        if self.count:
            self.none.clear()
        else:
            self.none.set()


def add_service(server: grpc.aio.Server, servicer: ServiceBase, calls: OpenCalls | None = None) -> str:
    """Serves a generated *Base subclass, whose calls `calls` counts; returns the full service name."""
    calls = calls or OpenCalls()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    service = ""
    for route, rpc in servicer.__mapping__().items():  # type: ignore[attr-defined]
        _, service, method = route.split("/")
        call = getattr(servicer, rpc.func.__name__.removeprefix("__rpc_"))
        kind = rpc.cardinality.name.lower()  # e.g. stream_stream
        handlers[method] = getattr(grpc, f"{kind}_rpc_method_handler")(
            (_serve_stream if kind.endswith("_stream") else _serve_single)(call, route, calls),
            request_deserializer=partial(decode, rpc.request_type),
            response_serializer=bytes,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    return service


def _serve_single(call: Callable[[Any], Any], route: str, calls: OpenCalls) -> Callable[..., Any]:
    async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with _Call(route, context, calls) as rpc:
            try:
                return await call(request)
            except Exception as error:  # the one boundary of a call: whatever it is ends here as a status
                await rpc.abort(error)

    return serve


def _serve_stream(call: Callable[[Any], Any], route: str, calls: OpenCalls) -> Callable[..., Any]:
    async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        with _Call(route, context, calls) as rpc:
            try:
                async with aclosing(call(request)) as responses:
                    async for response in responses:
                        yield response
            except Exception as error:  # as above
                await _hear_out(request)
                await rpc.abort(error)

    return serve


async def _hear_out(request: Any) -> None:
    """Lets a caller finish what it is sending: a grpc.aio client that fails to send never reads the status."""
    if not isinstance(request, AsyncIterator):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(HEAR_OUT_S):
            async for _ in request:
                pass


class _Call:
    """One call on the server: its request id in every log line, its metrics, its end as a status."""

    def __init__(self, route: str, context: grpc.aio.ServicerContext[Any, Any], calls: OpenCalls) -> None:
        self._route, self._context, self._calls = route, context, calls
        self._status = "OK"

    def __enter__(self) -> Self:
        metadata = dict(self._context.invocation_metadata() or ())
        caller.set(Caller.read(metadata))
        structlog.contextvars.bind_contextvars(request_id=caller.get().request_id)
        self._begin = time.perf_counter()
        self._calls.add(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._calls.add(-1)
        if kind is not None and self._status == "OK":
            self._status = "CANCELLED"
        taken = time.perf_counter() - self._begin
        labels = {"method": self._route, "status": self._status}
        metrics.rpc_requests.add(1, labels)
        metrics.rpc_duration_seconds.record(taken, labels)
        log.debug("rpc", method=self._route, status=self._status, ms=round(taken * 1000, 1))

    async def abort(self, error: Exception) -> NoReturn:
        if isinstance(error, GRPCError):  # a generated method nobody implemented
            self._status = error.status.name
            await self._context.abort(grpc.StatusCode[self._status], error.message or "")
        if not isinstance(error, errors.VoxmeshError):
            log.error("rpc_crashed", method=self._route, exc_info=error)
            error = errors.Internal("internal error")
        self._status = error.grpc
        payload = {"code": error.code, "retry_after_s": error.retry_after_s, "details": error.details}
        trailer = ((errors.ERROR_METADATA, json.dumps(payload).encode()),)
        await self._context.abort(grpc.StatusCode[error.grpc], error.message, trailer)


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.VoxmeshError:
    """The error a peer raised, as the same class it raised."""
    message = error.details() or error.code().name
    trailer: Any = error.trailing_metadata() or ()
    told = next((value for key, value in trailer if key == errors.ERROR_METADATA), None)
    if told is None and error.code() is grpc.StatusCode.INTERNAL and error.details() == _CUT_WHILE_SENDING:
        return errors.Unavailable("the service ended the call")
    return errors.from_status(error.code().name, message, told)


# What grpc.aio says instead of the peer's own status when the call ended while a message was being sent.
_CUT_WHILE_SENDING = "Internal error from Core"

Metadata = Mapping[str, str] | Iterable[tuple[str, str]] | None


def metadata_pairs(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """Metadata as gRPC takes it, from a mapping or pairs."""
    items = metadata.items() if isinstance(metadata, Mapping) else metadata or ()
    return tuple(items)


class AioStub(ServiceStub):
    """Mixed in before a generated stub: `class AsrClient(AioStub, AsrServiceStub)`.

    Calls raise VoxmeshError. A response iterator that is not read to its end cancels the call when it is closed
    (`contextlib.aclosing`).
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)  # type: ignore[arg-type]  # the base only stores it
        self._channel = channel

    async def _unary_unary(
        self, route: str, request: Any, response_type: type[Any], *, timeout: float | None = None,
        deadline: object = None, metadata: Any = None,
    ) -> Any:  # fmt: skip
        rpc = self._channel.unary_unary(route, bytes, partial(decode, response_type))
        try:
            return await rpc(request, timeout=timeout, metadata=metadata_pairs(metadata))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _unary_stream(
        self, route: str, request: Any, response_type: type[Any], *, timeout: float | None = None,
        deadline: object = None, metadata: Any = None,
    ) -> AsyncIterator[Any]:  # fmt: skip
        rpc = self._channel.unary_stream(route, bytes, partial(decode, response_type))
        call = rpc(request, timeout=timeout, metadata=metadata_pairs(metadata))
        async with aclosing(_responses(call)) as responses:
            async for response in responses:
                yield response

    async def _stream_unary(
        self, route: str, request_iterator: Any, request_type: type[Any],
        response_type: type[Any], *, timeout: float | None = None, deadline: object = None, metadata: Any = None,
    ) -> Any:  # fmt: skip
        rpc = self._channel.stream_unary(route, bytes, partial(decode, response_type))
        call = rpc(None, timeout=timeout, metadata=metadata_pairs(metadata))
        async with _sending(call, request_iterator):
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

    async def _stream_stream(
        self, route: str, request_iterator: Any, request_type: type[Any],
        response_type: type[Any], *, timeout: float | None = None, deadline: object = None, metadata: Any = None,
    ) -> AsyncIterator[Any]:  # fmt: skip
        rpc = self._channel.stream_stream(route, bytes, partial(decode, response_type))
        call = rpc(None, timeout=timeout, metadata=metadata_pairs(metadata))
        async with _sending(call, request_iterator), aclosing(_responses(call)) as responses:
            async for response in responses:
                yield response


@asynccontextmanager
async def _sending(call: Any, requests: Any) -> AsyncIterator[None]:
    """Sends requests while the body reads responses; an error of the requests ends the call and is raised."""
    sender = asyncio.create_task(_send(call, requests), name="rpc send")
    try:
        yield
    finally:
        sender.cancel()
        with suppress(asyncio.CancelledError):
            await sender


async def _send(call: Any, requests: Any) -> None:
    """Sends until the peer stops listening.

    grpc.aio's own sender replaces the peer's status by INTERNAL when a message cannot be sent any more, which is
    what happens whenever a service refuses a caller in the middle of a sentence. This one leaves the status be.
    """
    try:
        await call.wait_for_connection()
        async for request in _each(requests):
            if call.done():
                return
            await call._cython_call.send_serialized_message(bytes(request))
        await call.done_writing()
    except (grpc.aio.AioRpcError, cygrpc.InternalError):
        return  # the reader of the responses learns why
    except Exception:
        call.cancel()
        raise


async def _each(requests: Any) -> AsyncIterator[Any]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def _responses(call: Any) -> AsyncGenerator[Any, None]:
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        call.cancel()  # a consumer that stops early must not leave the call running
