"""The playground in a real browser with a fake microphone that plays a recording."""

import asyncio
import json
import subprocess
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from tests.e2e.browser import Browser, find_browser
from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k
from tests.fakes.playground_edge import KEY, SENTENCE, Script, build_app

DRIVER = Path(__file__).with_name("playground.mjs")
SCENARIO_TIMEOUT_S = 90
RECORDING_RATE_HZ = 48_000
PAUSE = bytes(2 * 16_000)  # a second; the microphone plays its recording over and over
Json = dict[str, Any]
Drive = Callable[..., Awaitable[Json]]


@pytest.fixture(scope="session")
def browser() -> Browser:
    return find_browser()


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds at the rate of sound cards: bursts of a chord with pauses, as loud as speech."""
    path = tmp_path_factory.mktemp("audio") / "recording.wav"
    at = np.arange(10 * RECORDING_RATE_HZ) / RECORDING_RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * at) for hz in (180, 360, 720, 1500))
    samples = 4_000 * chord * (np.sin(2 * np.pi * 1.5 * at) > 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RECORDING_RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


async def browse(browser: Browser, scenario: str, url: str, key: str, recording: Path) -> Json:
    """Runs a scenario of playground.mjs; what holds for all of them is checked here."""
    task = {**asdict(browser), "scenario": scenario, "url": url, "key": key, "wav": str(recording)}
    process = await asyncio.create_subprocess_exec(
        browser.node, DRIVER, json.dumps(task), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, problems = await asyncio.wait_for(process.communicate(), SCENARIO_TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, problems.decode()
    seen: Json = json.loads(out)
    assert seen["errors"] == [], "the page raised an exception"
    assert not [line for line in seen["console"] if "Content Security Policy" in line]
    assert {name.rpartition(":")[0] for name in seen["hosts"]} <= {
        "127.0.0.1",
        "localhost",
        "voxmesh.test",
        "",
    }
    return seen


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def drive(browser: Browser, recording: Path, script: Script) -> AsyncIterator[Drive]:
    """Runs a scenario of playground.mjs against an edge that follows `script`; returns what the browser saw."""
    runner = web.AppRunner(build_app(script), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]

    async def run(scenario: str) -> Json:
        return await browse(browser, scenario, f"http://{host}:{port}", KEY, recording)

    yield run
    await runner.cleanup()


async def test_words_commit_while_the_microphone_is_open(drive: Drive, script: Script) -> None:
    seen = await drive("listen")
    assert seen["pressed"] == "true"
    assert seen["level"] > 0
    assert seen["states"][0]["hiddenFromReaders"] == "true"
    assert seen["states"][0]["began"] == seen["began"] == "0:00", "a turn begins where it began"
    said = seen["transcript"].split()
    assert said == SENTENCE[: len(said)] and len(said) >= 8
    assert " ".join(seen["announced"]).split() == said, (
        "a screen reader hears each word once, when it is final"
    )
    assert seen["pale"] == ["fellow"]
    assert seen["interimLeft"] == 0
    assert "ms" in seen["facts"]
    (stream,) = script.streams
    assert stream["closed"], "the page asks for the last words"
    assert {"encoding": "linear16", "sample_rate": "16000"}.items() <= stream["query"].items()
    assert stream["loudest"] > 1_000, "the recording reached the server"


async def test_a_recording_becomes_a_transcript_to_click(drive: Drive, script: Script) -> None:
    seen = await drive("file")
    assert seen["speakers"] == ["Speaker 1", "Speaker 2"]
    assert seen["clicked"] == "country"
    (first, _) = script.uploads
    assert first["timestamps"] == "true" and first["diarize"] == "true"
    saved = seen["saved"]
    assert saved["txt"] == {"name": "recording.txt", "text": " ".join(SENTENCE) + "\n"}
    assert saved["srt"]["text"].startswith("1\n00:00:00,300 --> 00:00:0")
    assert saved["srt"]["text"].count("[Speaker 2]") == 1
    assert saved["vtt"]["text"].startswith("WEBVTT\n\n00:00:00.300 --> ")
    assert "no audio" in seen["refused"] and "mp3" in seen["refused"]
    assert "Americans," in seen["stillThere"], "a file that cannot be read leaves the transcript alone"


async def test_the_spoken_word_is_marked(drive: Drive, script: Script) -> None:
    seen = await drive("speak")
    assert seen["voices"] == ["Joe, American English", "Thorsten, German (Germany)"]
    assert seen["marked"] == ["Words", "light", "up,", "one", "by", "one."]
    assert "First audio after" in seen["facts"]
    assert seen["wav"]["name"] == "speech.wav" and seen["wav"]["rate"] == 24_000
    assert seen["wav"]["bytes"] > 24_000
    first, second, cancelled, third = script.spoken
    assert first["word_timestamps"] is True and first["voice_id"] == "en_US-joe-medium"
    assert cancelled["cancel_request"] is True and cancelled["context_id"] == second["context_id"]
    assert third["text"] == "Again." and seen["stopped"]


async def test_a_lost_connection_loses_no_word_and_doubles_none(drive: Drive, script: Script) -> None:
    script.drop_after_s = 4.2
    seen = await drive("reconnect")
    assert "connection was lost" in seen["told"]
    said = seen["transcript"].split()
    # The script starts its sentence anew on each stream: seven settled words before the loss, then from the first.
    assert said[:7] == SENTENCE[:7]
    assert said[7:14] == SENTENCE[:7]
    lost, found = script.streams
    assert lost["query"] == found["query"] and found["closed"]
    replayed = found["first_burst"]
    assert replayed >= 32_000, "audio since the last settled word is heard again"


async def test_a_wrong_key_is_named_and_can_be_changed(drive: Drive) -> None:
    seen = await drive("key")
    assert "#" not in seen["address"], "the key leaves the address bar"
    assert seen["stored"] == [1, 0], "the key lives in this tab only"
    for pane in ("live", "voice", "file"):
        assert "does not accept this key" in seen[pane]


async def test_a_microphone_that_cannot_be_used_is_explained(drive: Drive) -> None:
    seen = await drive("microphone")
    assert "not allowed" in seen["denied"]
    assert "https://" in seen["insecure"] and "localhost" in seen["insecure"]
    assert seen["ready"]


async def test_a_server_that_is_away_is_noticed_and_so_is_its_return(drive: Drive) -> None:
    seen = await drive("away")
    assert "does not answer" in seen["told"]
    assert "does not answer" in seen["strip"]
    assert "Recogniser" in seen["after"]


async def test_sound_and_captions_are_exact(drive: Drive) -> None:
    seen = await drive("sound")
    for rate, tones in seen["sound"].items():
        assert abs(tones["low"]["samples"] - 32_000) <= 1_600, rate
        assert abs(tones["low"]["level"] - 1) < 0.01 and abs(tones["high"]["level"] - 1) < 0.02, rate
        assert rate == "16000" or tones["alias"]["level"] < 0.002, f"{rate} Hz: 10 kHz folds down to 6 kHz"
    assert seen["srt"] == "1\n00:00:00,000 --> 00:00:03,500\nOne two. Three\n"
    assert seen["chinese"] == ["", "", ""]
    assert "<v Speaker 2>&lt;b&gt; &amp;" in seen["vtt"]


async def test_it_fits_every_screen_and_the_keyboard_reaches_everything(drive: Drive) -> None:
    seen = await drive("shape")
    assert set(seen["overflow"].values()) == {0}
    assert seen["unnamed"] == []
    assert {
        "docs",
        "key-button",
        "mic",
        "language",
        "diarize",
        "choose",
        "text",
        "say",
        "voice",
        "pace",
    } <= set(seen["reached"])


async def test_it_works_with_the_real_mesh(browser: Browser, mesh: RunningMesh, tmp_path: Path) -> None:
    spoken = tmp_path / "clip.wav"
    with wave.open(str(spoken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm16k(clip()) + PAUSE)
    seen = await browse(browser, "mesh", mesh.url, mesh.key, spoken)
    assert normalise(CLIP_TEXT) in normalise(seen["file"])
    assert "quick brown fox" in normalise(seen["live"])
    assert "First audio after" in seen["facts"]
    assert "Recogniser" in seen["status"]
