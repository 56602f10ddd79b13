"""The playground over HTTP."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from edge.api.pages import POLICY, STATIC, add_pages


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    app = web.Application()
    add_pages(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with ClientSession(f"http://{host}:{port}") as session:
        yield session
    await runner.cleanup()


async def test_every_file_is_served_with_the_policy(browser: ClientSession) -> None:
    for path in ["/", *(f"/static/{file.name}" for file in STATIC.iterdir())]:
        async with browser.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.content_type == "text/javascript" if path.endswith(".js") else True


async def test_what_the_browser_has_is_not_sent_again(browser: ClientSession) -> None:
    async with browser.get("/") as answer:
        etag = answer.headers["ETag"]
    async with browser.get("/", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
        assert await answer.read() == b""


@pytest.mark.parametrize(
    "path", ["/static/", "/static/../pages.py", "/static/%2e%2e/pages.py", "/static/none.js"]
)
async def test_no_other_file_can_be_had(path: str, browser: ClientSession) -> None:
    async with browser.get(path) as answer:
        assert answer.status == 404
