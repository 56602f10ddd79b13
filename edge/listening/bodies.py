"""Request bodies: a recording and options, however they arrive. Large recordings go to disk, not to memory."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from common.errors import InvalidArgument, VoxmeshError
from edge.admission import too_large
from edge.listening.fetch import Fetcher
from edge.values import Json, json_object

SPILL_BYTES = 4 * 1024 * 1024
MAX_FIELDS = 100
MAX_FIELD_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024


class Recording:
    """The bytes of one recording, in memory up to SPILL_BYTES and in a temporary file beyond."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = bytearray()
        self._file: Any = None
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> None:
        """Appends; raises AudioTooLarge past the limit."""
        self.n_bytes += len(data)
        if self.n_bytes > self._limit:
            raise too_large(self._limit)
        self._hash.update(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._held += data
        if len(self._held) > SPILL_BYTES:
            self._file = tempfile.NamedTemporaryFile(prefix="voxmesh-", delete=False)
            self._file.write(self._held)
            self._held = bytearray()

    def source(self) -> bytes | str:
        """What a decoder opens: the bytes, or the path of the file."""
        if self._file is None:
            return bytes(self._held)
        self._file.flush()
        return str(self._file.name)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        """Removes the temporary file."""
        if self._file is not None:
            self._file.close()
            os.unlink(self._file.name)
            self._file = None
        self._held = bytearray()


@dataclass(slots=True)
class Upload:
    """What came in: fields of the form or the JSON object, and the recording if there was one."""

    fields: Json
    recording: Recording
    filename: str = ""
    is_form: bool = False


@asynccontextmanager
async def read_upload(
    request: web.Request, fetcher: Fetcher, *, limit_bytes: int, pause_s: float, parts: tuple[str, ...]
) -> AsyncIterator[Upload]:
    """Reads the body of a recognition request, and the url it may name instead.

    Args:
        request: multipart with one of `parts`, JSON with `url`, or raw audio.
        fetcher: for urls.
        limit_bytes: largest recording.
        pause_s: longest wait for the next piece of the body.
        parts: names of the multipart part that may hold the recording.

    Raises:
        InvalidArgument: the body is not what its type says, or stopped.
        AudioTooLarge: the recording is larger than `limit_bytes`.
    """
    upload = Upload({}, Recording(limit_bytes))
    try:
        try:
            if request.content_type == "multipart/form-data":
                upload.is_form = True
                await _read_form(request, upload, parts, pause_s)
            elif request.content_type == "application/json":
                upload.fields = json_object(await read_text(request, MAX_FIELD_BYTES, pause_s))
            else:
                await _copy(request.content.iter_chunked(_CHUNK_BYTES), upload.recording.write, pause_s)
        except VoxmeshError:
            raise
        except (
            ValueError,
            AssertionError,
            RuntimeError,
            LookupError,
            HttpProcessingError,
            web.HTTPException,
        ):
            raise InvalidArgument("the body is not a valid " + (request.content_type or "request")) from None
        url = upload.fields.get("url")
        if url and not upload.recording.n_bytes:
            if not isinstance(url, str):
                raise InvalidArgument("url must be text", parameter="url")
            async with fetcher.open(url) as pieces:
                await _copy(pieces, upload.recording.write, pause_s)
        yield upload
    finally:
        upload.recording.close()


async def read_text(request: web.Request, limit_bytes: int, pause_s: float) -> bytes:
    """A bounded body; raises InvalidArgument when it is larger or stops."""
    held = bytearray()

    def write(data: bytes) -> None:
        if len(held) + len(data) > limit_bytes:
            raise InvalidArgument(f"the body is larger than {limit_bytes} bytes")
        held.extend(data)

    await _copy(request.content.iter_chunked(_CHUNK_BYTES), write, pause_s)
    return bytes(held)


async def _copy(pieces: AsyncIterator[bytes], write: Callable[[bytes], None], pause_s: float) -> None:
    iterator = aiter(pieces)
    try:
        while True:
            async with asyncio.timeout(pause_s):
                piece = await anext(iterator, None)
            if piece is None:
                return
            write(piece)
    except TimeoutError:
        raise InvalidArgument(f"no data for {pause_s:g} s") from None


async def _read_form(request: web.Request, upload: Upload, parts: tuple[str, ...], pause_s: float) -> None:
    reader = await request.multipart()
    count = 0
    async for part in _parts(reader, pause_s):
        count += 1
        if count > MAX_FIELDS:
            raise InvalidArgument(f"the form has more than {MAX_FIELDS} fields")
        name = part.name or ""
        if name in parts or (part.filename and not upload.recording.n_bytes):
            upload.filename = part.filename or ""
            await _copy(_chunks(part), upload.recording.write, pause_s)
            continue
        held = bytearray()

        def write(data: bytes, held: bytearray = held, name: str = name) -> None:
            held.extend(data)
            if len(held) > MAX_FIELD_BYTES:
                raise InvalidArgument("a form field is too large", parameter=name[:100])

        await _copy(_chunks(part), write, pause_s)
        _add(upload.fields, name, held.decode("utf-8", "replace"))


async def _parts(reader: MultipartReader, pause_s: float) -> AsyncIterator[BodyPartReader]:
    while True:
        try:
            async with asyncio.timeout(pause_s):
                part = await reader.next()
        except TimeoutError:
            raise InvalidArgument(f"no data for {pause_s:g} s") from None
        if part is None:
            return
        if isinstance(part, BodyPartReader):
            yield part


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield part.decode(chunk)


def _add(fields: Json, name: str, value: str) -> None:
    if name.endswith("[]"):
        fields.setdefault(name[:-2], []).append(value)
    else:
        fields[name] = value
