"""Typed clients of every service. All of them talk to the local sidecar, which knows where the services are."""

from collections.abc import AsyncGenerator, AsyncIterable

import grpc

from common import wire
from common.pb.voxmesh.asr.v1 import AsrServiceStub, RecognizeRequest, RecognizeResponse
from common.pb.voxmesh.license.v1 import LicenseServiceStub
from common.pb.voxmesh.session.v1 import SessionServiceStub
from common.pb.voxmesh.tts.v1 import TtsServiceStub
from common.rpc import MAX_MESSAGE_BYTES, AioStub, Metadata, metadata_pairs
from common.telemetry import client_interceptors


class AsrClient(AioStub, AsrServiceStub): ...


class LiveAsrClient:
    """`AsrClient.recognize` for thousands of small messages a second: over a connection of its own, not grpc.aio's."""

    def __init__(self, address: str) -> None:
        self._channel = wire.Channel(address, max_message_bytes=MAX_MESSAGE_BYTES)

    def recognize(
        self, messages: AsyncIterable[RecognizeRequest | bytes], *, metadata: Metadata = None
    ) -> AsyncGenerator[RecognizeResponse, None]:
        """Raises VoxmeshError. Closing what it returns cancels the call."""
        return self._channel.stream_stream(
            "/voxmesh.asr.v1.AsrService/Recognize", messages, RecognizeResponse, metadata_pairs(metadata)
        )

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()


class TtsClient(AioStub, TtsServiceStub): ...


class LicenseClient(AioStub, LicenseServiceStub): ...


class SessionClient(AioStub, SessionServiceStub): ...


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to a sidecar or a server, e.g. "127.0.0.1:15001". Close it when the process ends."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # A restarted sidecar should be found again within a second, not after a minute of back-off.
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_retries", 0),  # retries are the sidecar's business
        ],
        interceptors=client_interceptors(),
    )


async def check_health(
    channel: grpc.aio.Channel, service: str, *, timeout_s: float = 2.0, metadata: Metadata = None
) -> bool:
    """Asks the standard health service; an unreachable peer is not healthy.

    Through a sidecar the method is the same for every service: `x-voxmesh-service` in `metadata` says whose it is.
    """
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await stub.Check(request, timeout=timeout_s, metadata=metadata_pairs(metadata))
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
