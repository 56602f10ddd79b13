"""The pages that people open in a browser: the playground at `/` and its files under `/static/`.

The playground is plain HTML, CSS and ES modules. Its policy lets it load and reach nothing but this server, so
neither a mistake nor injected text can send what was said elsewhere. No key is needed for the files themselves.
"""

import hashlib
import mimetypes
from pathlib import Path
from typing import Self

from aiohttp import hdrs, web

STATIC = Path(__file__).parent.parent / "static"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",  # a recording that the user chose is played from memory
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


class StaticFile:
    """One file, read once at start: the set is small and fixed, so no request ever names a path on disk."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self.body, self.content_type = body, content_type
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:20]}"'

    @classmethod
    def of(cls, path: Path) -> Self:
        """A file on disk."""
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
        return cls(path.read_bytes(), kind)

    async def answer(self, request: web.Request) -> web.Response:
        headers = {**SECURITY_HEADERS, hdrs.ETAG: self.etag, hdrs.CACHE_CONTROL: "no-cache"}
        if self.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        response = web.Response(
            body=self.body, content_type=self.content_type, charset="utf-8", headers=headers
        )
        response.enable_compression()
        return response


def add_pages(app: web.Application) -> None:
    """Routes `GET /` and `GET /static/<file>` for every file of the folder `static`."""
    for path in sorted(STATIC.iterdir()):
        file = StaticFile.of(path)
        app.router.add_get(f"/static/{path.name}", file.answer)
        if path.name == "index.html":
            app.router.add_get("/", file.answer)
