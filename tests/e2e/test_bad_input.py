"""Whatever is wrong with a request, the answer says so, nothing breaks, and the next request works."""

import io
import wave
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.running import RunningMesh
from tests.e2e.speech import clip

TEXT_FILE = b"this is a shopping list, not audio\n" * 50


@pytest.fixture
async def http(mesh: RunningMesh) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mesh.url, headers=mesh.auth, timeout=120) as client:
        yield client
        answer = await client.post("/v1/listen?language=en", content=clip().read_bytes())
        assert answer.status_code == 200, f"the next request failed: {answer.text}"


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"] == code
    assert len(body["error"]) > 10
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Token wrong"}, {"Authorization": "Basic eDp5"}])
async def test_no_key_or_a_wrong_one(header: dict[str, str], mesh: RunningMesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.url, headers=header) as client:
        assert_refused(await client.post("/v1/listen", content=b"x"), 401, "INVALID_LICENSE")
        assert_refused(await client.post("/v1/speak", json={"text": "x"}), 401, "INVALID_LICENSE")
    for path in ("/v1/listen/stream", "/v1/speak/stream"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(mesh.ws_url + path, additional_headers=header):
                pass
        assert refused.value.response.status_code == 401


async def test_empty_body(http: httpx.AsyncClient) -> None:
    assert_refused(await http.post("/v1/listen", content=b""), 400, "MISSING_PARAMETER")
    assert_refused(await http.post("/v1/listen", json={}), 400, "MISSING_PARAMETER")
    assert_refused(await http.post("/v1/speak", json={}), 400, "MISSING_PARAMETER")


async def test_a_text_file_as_audio(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/listen", files={"audio": ("list.wav", TEXT_FILE)})
    assert_refused(answer, 415, "UNSUPPORTED_FORMAT")
    assert "wav" in answer.json()["supported_formats"]


async def test_a_truncated_mp3_gives_what_is_there(http: httpx.AsyncClient) -> None:
    speak = await http.post("/v1/speak?encoding=mp3", json={"text": "One two three four five six seven."})
    whole = speak.content
    answer = await http.post("/v1/listen?language=en", content=whole[: len(whole) // 2])
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"]


async def test_three_hours(http: httpx.AsyncClient) -> None:
    body = io.BytesIO()
    with wave.open(body, "wb") as out:
        out.setparams((1, 1, 8000, 0, "NONE", ""))
        out.writeframes(b"\x80" * (8000 * 3600 * 3))
    assert_refused(await http.post("/v1/listen", content=body.getvalue()), 422, "AUDIO_TOO_LONG")


async def test_an_unknown_voice(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/speak", json={"text": "Hello", "voice": "nobody"})
    assert_refused(answer, 404, "NOT_FOUND")
    assert "en_US-joe-medium" in answer.json()["error"]


async def test_ten_megabytes_of_text(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/speak", json={"text": "word " * (2 << 20), "voice": "en_US-joe-medium"})
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "url",
    [
        "http://nowhere.invalid/a.wav",
        "http://127.0.0.1:7100/health",
        "http://[::1]/a.wav",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/a.wav",
        "http://localhost/a.wav",
        "file:///etc/passwd",
    ],
)
async def test_urls_that_cannot_or_must_not_be_fetched(url: str, http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/listen", json={"url": url})
    assert 400 <= answer.status_code < 500, answer.text
    assert len(answer.json()["error"]) > 10


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"text": 5}', b"\xff\xfe"])
async def test_json_that_is_none(body: bytes, http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/speak", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
