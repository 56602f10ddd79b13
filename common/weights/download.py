"""One file over HTTP: resumed, retried, verified."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from common.weights.cache import check_sha256, hash_file, require_space
from common.weights.errors import Corrupt, Unreachable
from common.weights.progress import OnProgress

# Attempts in a row that bring not one byte; a slow link that drops now and then is followed to the end.
FRUITLESS_ATTEMPTS = 5
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")


class _Passing(Exception):
    """A failure that another attempt may cure."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server.

    Attributes:
        url: where.
        label: for people and logs, without secrets.
        sha256: what it must be, or None.
        headers: sent along, e.g. a token. Not sent on when the server redirects to another host.
        optional: whether its absence (404) is fine.
        plain: whether http:// is acceptable, also after a redirect.
    """

    url: str
    label: str
    sha256: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    optional: bool = False
    plain: bool = False


def download(
    remote: Remote, path: Path, on_progress: OnProgress, *, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Downloads to `path`, going on from what an earlier attempt left beside it.

    Returns:
        False when the file is optional and not there.

    Raises:
        Unreachable: no answer, a refusal, or a connection that keeps breaking.
        Corrupt: the file is not the one its sha256 says, also when loaded afresh.
        CacheUnusable: it would not fit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    resumed = partial.exists()
    while True:
        if not path.exists() and not _download_partial(remote, partial, on_progress, sleep):
            return False
        if partial.exists():
            partial.replace(path)
            _forget(partial)
        if remote.sha256 is None:
            return True
        try:
            check_sha256(remote.label, hash_file(path), remote.sha256)
            return True
        except Corrupt:
            path.unlink()
            if not resumed:
                raise
            resumed = False  # the old part may be to blame: once more from the start


def _download_partial(
    remote: Remote, partial: Path, on_progress: OnProgress, sleep: Callable[[float], None]
) -> bool:
    retrying = Retrying(
        retry=retry_if_exception_type(_Passing),
        stop=_StopWithoutProgress(partial),
        wait=wait_exponential(multiplier=0.5, max=20.0) + wait_random(0, 0.5),
        sleep=sleep,
        reraise=True,
    )
    try:
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            return retrying(_attempt, client, remote, partial, on_progress)
    except _Passing as error:
        raise Unreachable(f"{remote.label} could not be downloaded: {error}.") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise Unreachable(f"{remote.label} leads nowhere ({type(error).__name__}).") from error


def _attempt(client: httpx.Client, remote: Remote, partial: Path, on_progress: OnProgress) -> bool:
    """One request; True when the partial file is complete, False when an optional file is not there."""
    have = partial.stat().st_size if partial.exists() else 0
    tag = _read_tag(partial)
    headers = dict(remote.headers) | {"Accept-Encoding": "identity"}
    if have and tag:  # without a tag nobody can tell whether the rest belongs to the same file
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        with client.stream("GET", remote.url, headers=headers) as response:
            if not remote.plain and any(step.url.scheme == "http" for step in (*response.history, response)):
                raise Unreachable(
                    f"{remote.label} is redirected to plain http://, where it could be changed."
                )
            if response.status_code == 404 and remote.optional:
                return False
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                _forget(partial)
                raise _Passing("the server does not know the part we have")
            _require_success(remote, response)
            offset, total = _extent(response)
            if offset not in (0, have):
                _forget(partial)
                raise _Passing("the server sent another part than the one asked for")
            require_space(partial.parent, max(total - offset, 0))
            _write_tag(partial, response)
            done = _receive(response, partial, offset, total, remote.label, on_progress)
    except httpx.TransportError as error:
        if isinstance(error, httpx.UnsupportedProtocol):
            raise
        raise _Passing(f"the connection failed ({type(error).__name__})") from error
    if total and done != total:
        raise _Passing(f"the connection ended after {done} of {total} bytes")
    return True


def _receive(
    response: httpx.Response, partial: Path, offset: int, total: int, label: str, on_progress: OnProgress
) -> int:
    done = offset
    with partial.open("ab" if offset else "wb") as file:
        for chunk in response.iter_raw():  # a chunk size would hold back, and on a break lose, what has come
            file.write(chunk)
            done += len(chunk)
            on_progress(label, done, total)
    return done


def _require_success(remote: Remote, response: httpx.Response) -> None:
    status = response.status_code
    if status in _PASSING_STATUS:
        raise _Passing(f"the server answered {status}")
    if status in (401, 403):
        raise Unreachable(f"{remote.label} needs credentials (the server answered {status}).")
    if not response.is_success:
        raise Unreachable(f"{remote.label}: the server answered {status}.")


def _extent(response: httpx.Response) -> tuple[int, int]:
    """Where the body starts within the file, and the size of the whole file (0: unknown)."""
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise _Passing("the server sent a part without saying which")
        return int(match["start"]), 0 if match["total"] == "*" else int(match["total"])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else 0


class _StopWithoutProgress:
    """Gives up after attempts in a row that brought nothing."""

    def __init__(self, partial: Path) -> None:
        self._partial = partial
        self._best = self._size()
        self._fruitless = 0

    def __call__(self, state: RetryCallState) -> bool:
        size = self._size()
        self._fruitless = 0 if size > self._best else self._fruitless + 1
        self._best = max(self._best, size)
        return self._fruitless >= FRUITLESS_ATTEMPTS

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0


def _tag_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.tag")


def _read_tag(partial: Path) -> str:
    try:
        return str(json.loads(_tag_path(partial).read_text("utf-8")))
    except (OSError, ValueError):
        return ""


def _write_tag(partial: Path, response: httpx.Response) -> None:
    etag = response.headers.get("ETag", "")
    # If-Range takes strong validators only (RFC 9110, 13.1.5).
    strong = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    _tag_path(partial).write_text(json.dumps(strong), "utf-8")


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _tag_path(partial).unlink(missing_ok=True)
