"""Recordings behind a url: fetched within limits, never from inside the network the edge stands in."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from common.errors import InvalidArgument
from edge.listening.s3 import S3Signer

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
_CHUNK_BYTES = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_URL_CHARS = 4_096


def is_public(address: str) -> bool:
    """Whether an IP address lies in the open internet: not loopback, private, link-local, metadata, multicast."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    inside = ip in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if inside else None


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only. The connection is made to what was checked, not to a second answer."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in found
        ]
        if not self._allow_private and not all(is_public(one["host"]) for one in results):
            raise PrivateAddress
        return results

    async def close(self) -> None:
        """Holds nothing."""


class PrivateAddress(OSError):
    """The name points into a private network."""


class Fetcher:
    """Downloads; one per process. Close it."""

    def __init__(self, *, timeout_s: float, allow_private: bool = False, s3: S3Signer | None = None) -> None:
        self._allow_private, self._s3 = allow_private, s3
        # The installation's own store may be private; its answers lead nowhere else.
        self._store = (
            Fetcher(timeout_s=timeout_s, allow_private=True) if s3 is not None and s3.own_endpoint else None
        )
        self._redirects = MAX_REDIRECTS
        if self._store is not None:
            self._store._redirects = 0
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._store is not None:
            await self._store.close()

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes behind `url`; whoever reads them counts them.

        Raises:
            InvalidArgument: not http(s) or s3, private, unreachable, too slow, or not answered with 200.
        """
        if self._s3 is not None and url.startswith("s3://"):
            signed = await self._s3.sign(url)
            async with (self._store or self)._open(signed) as pieces:
                yield pieces
        else:
            async with self._open(url) as pieces:
                yield pieces

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=PublicResolver(allow_private=self._allow_private), use_dns_cache=False, limit=32
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, auto_decompress=False, trust_env=False
            )
        try:
            response = await self._follow(self._session, _parse(url))
            try:
                yield response.content.iter_chunked(_CHUNK_BYTES)
            finally:
                response.close()
        except aiohttp.ClientError as error:
            if _caused_by_private(error):
                raise _private() from None
            raise InvalidArgument(
                "the url could not be fetched: the host cannot be reached", parameter="url"
            ) from None
        except PrivateAddress:
            raise _private() from None
        except TimeoutError:
            raise InvalidArgument("the url could not be fetched in time", parameter="url") from None
        except OSError:
            raise InvalidArgument(
                "the url could not be fetched: the host cannot be reached", parameter="url"
            ) from None

    async def _follow(self, session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientResponse:
        for _ in range(self._redirects + 1):
            checked_url(str(url), allow_private=self._allow_private)
            response = await session.get(
                url, allow_redirects=False, headers={"Accept-Encoding": "identity", "User-Agent": "voxmesh"}
            )
            if response.status not in _REDIRECTS:
                if response.status != 200:
                    response.close()
                    raise InvalidArgument(f"the url answered with status {response.status}", parameter="url")
                return response
            location = response.headers.get("Location", "")
            response.close()
            url = url.join(_parse(location, relative=True))
        raise InvalidArgument(f"the url redirects more than {self._redirects} times", parameter="url")


def checked_url(text: str, *, allow_private: bool = False) -> URL:
    """A url that may be asked; names are checked when they are resolved. Raises InvalidArgument."""
    url = _parse(text)
    # Names go through the resolver; an address in the url does not.
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidArgument("url must begin with http://, https:// or s3://", parameter="url")
    try:
        ipaddress.ip_address(url.host.partition("%")[0])
    except ValueError:
        return url
    if not allow_private and not is_public(url.host):
        raise _private()
    return url


def _parse(text: str, *, relative: bool = False) -> URL:
    try:
        if not text or len(text) > _MAX_URL_CHARS:
            raise ValueError
        url = URL(text)
        if not relative and not url.is_absolute():
            raise ValueError
        _ = url.port
    except (ValueError, TypeError):
        raise InvalidArgument("url is not a valid http or https address", parameter="url") from None
    return url


def _private() -> InvalidArgument:
    return InvalidArgument("the url points into a private network", parameter="url")


def _caused_by_private(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, PrivateAddress):
            return True
        error = error.__cause__ or error.__context__
    return False
