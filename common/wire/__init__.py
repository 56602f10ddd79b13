"""gRPC calls that stream both ways, at the price of a frame a message."""

from common.wire.channel import Channel

__all__ = ["Channel"]
