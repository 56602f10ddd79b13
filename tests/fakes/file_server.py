"""An HTTP server for files that can misbehave on request."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class FileServer:
    """Serves `files` (path -> content) with ETag and Range, from a thread of its own.

    Attributes:
        files: what it has; may change while it runs.
        requests: how often each path was asked for.
        ranges: the Range header of each request for a file, "" without.
        break_after: bytes after which a body ends early, once per entry, in order.
        statuses: statuses to answer instead, once per entry, in order.
        redirects: path -> where to go instead.
        tokens: Authorization header of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.break_after: list[int] = []
        self.statuses: list[int] = []
        self.redirects: dict[str, str] = {}
        self.tokens: list[str] = []
        self.etag = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, repo: str, commit: str, files: dict[str, bytes], *, sha256: dict[str, str]) -> None:
        """Makes the server a model hub with one repository."""
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "lfs": {"sha256": sha256[name]} if name in sha256 else None,
            }
            for name, content in files.items()
        ]
        self.files[f"/api/models/{repo}/revision/main"] = json.dumps(
            {"sha": commit, "siblings": siblings}
        ).encode()
        self.files |= {f"/{repo}/resolve/{commit}/{name}": content for name, content in files.items()}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Tests print nothing."""

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.requests[path] += 1
        self.tokens.append(request.headers.get("Authorization", ""))
        if path in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[path])
            request.end_headers()
            return
        status = self.statuses.pop(0) if self.statuses else (200 if path in self.files else 404)
        if status != 200:
            request.send_error(status)
            return
        content, start = self.files[path], 0
        tag = f'"{hash(content)}"'
        wanted = request.headers.get("Range", "")
        self.ranges.append(wanted)
        if wanted and request.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                request.send_error(416)
                return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.etag:
            request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        end = start + self.break_after.pop(0) if self.break_after else len(content)
        request.wfile.write(content[start:end])
