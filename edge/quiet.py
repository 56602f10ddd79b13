"""Keeps what strangers send out of the log: aiohttp quotes bytes that are not HTTP, and a key may be among them."""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger


def drop_bad_requests() -> None:
    """The sender hears 400; the log has nothing to say about it."""
    if not any(isinstance(one, _BadRequests) for one in server_logger.filters):
        server_logger.addFilter(_BadRequests())


class _BadRequests(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)
