"""Delivering answers to urls of clients: signed, retried, never into the network the edge stands in.

`X-Voxmesh-Signature: t=<unix seconds>,v1=<hex>` is the HMAC-SHA256 of `<t>.<body>` under EDGE_CALLBACK_SECRET, or
without that under the caller's own licence key. A receiver compares it and refuses an old `t`.
"""

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random
from yarl import URL

from common import logs
from common.errors import InvalidArgument
from edge.dialects.callbacks import Callback
from edge.listening.fetch import CONNECT_TIMEOUT_S, PrivateAddress, PublicResolver, checked_url
from edge.values import Json, dumps

log = logs.get_logger()

SIGNATURE_HEADER = "X-Voxmesh-Signature"
DELIVERY_HEADER = "X-Voxmesh-Delivery"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
_WORTH_RETRYING = frozenset({408, 409, 425, 429})


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of the signature header."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@dataclass(slots=True)
class Delivery:
    """One answer on its way."""

    id: str
    callback: Callback
    body: Json
    secret: str
    attempts: int = 0


class _Again(Exception):
    """It may work later."""


class Courier:
    """Delivers; one per process. Close it."""

    def __init__(
        self,
        *,
        attempts: int,
        timeout_s: float,
        allow_private: bool = False,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._attempts, self._allow_private = attempts, allow_private
        self._first_pause_s = first_pause_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self, url: str) -> None:
        """Raises InvalidArgument for an address that nothing will ever be sent to."""
        target = checked_url(url, allow_private=self._allow_private)
        assert target.host is not None
        try:
            await PublicResolver(allow_private=self._allow_private).resolve(target.host)
        except PrivateAddress:
            raise InvalidArgument(
                "the callback points into a private network", parameter="callback_url"
            ) from None
        except OSError:
            raise InvalidArgument("the host of the callback is not known", parameter="callback_url") from None

    async def deliver(self, delivery: Delivery) -> bool:
        """Sends until it is taken or all attempts are spent; whether it was taken."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(self._first_pause_s, LONGEST_PAUSE_S) + wait_random(0, self._first_pause_s),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    delivery.attempts += 1
                    return await self._send(delivery)
        except _Again:
            pass
        log.warning("callback_given_up", delivery=delivery.id, attempts=delivery.attempts)
        return False

    async def _send(self, delivery: Delivery) -> bool:
        callback = delivery.callback
        url = checked_url(callback.url, allow_private=self._allow_private)
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=PublicResolver(allow_private=self._allow_private), use_dns_cache=False, limit=32
            )
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False)
        body = dumps(delivery.body).encode() if callback.method != "GET" else b""
        if callback.method == "GET":
            url = url.update_query(_short(delivery))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "voxmesh",
            DELIVERY_HEADER: delivery.id,
            SIGNATURE_HEADER: sign(delivery.secret, body, int(time.time())),
        }
        try:
            return await self._ask(callback.method, url, body, headers, delivery)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if _is_private(error):
                log.warning("callback_refused", delivery=delivery.id)
                return False
            log.info("callback_failed", delivery=delivery.id, error_type=type(error).__name__)
            raise _Again from None

    async def _ask(
        self, method: str, url: URL, body: bytes, headers: dict[str, str], delivery: Delivery
    ) -> bool:
        assert self._session is not None
        # A redirect could lead anywhere, so it counts as a refusal; what the answer says is of no interest.
        async with self._session.request(
            method, url, data=body or None, headers=headers, allow_redirects=False
        ) as response:
            status = response.status
            response.close()
        if 200 <= status < 300:
            return True
        log.info("callback_failed", delivery=delivery.id, status=status)
        if status >= 500 or status in _WORTH_RETRYING:
            raise _Again
        return False


def _short(delivery: Delivery) -> dict[str, str]:
    known = {name: delivery.body.get(name) for name in ("request_id", "job_id", "status")}
    return {
        "request_id": delivery.id,
        **{name: value for name, value in known.items() if isinstance(value, str)},
    }


def _is_private(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, PrivateAddress):
            return True
        error = error.__cause__ or error.__context__
    return False


async def settle(tasks: "set[asyncio.Task[None]]", grace_s: float) -> None:
    """Gives tasks `grace_s` to end, then cancels them."""
    if tasks:
        await asyncio.wait(tasks, timeout=grace_s)
    for task in list(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
