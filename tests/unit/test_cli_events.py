"""What `up` says."""

import io
import json

from cli.events import Event, describe, json_sink, lasting
from cli.listen import Transcript

UP = {
    "url": "http://127.0.0.1:7100",
    "grpc": "127.0.0.1:7200",
    "key": "KEY",
    "took_s": 8.0,
    "state_dir": "/s",
    "key_file": "",
    "voice": "joe",
}


def test_events_for_programs_are_json_lines() -> None:
    out = io.StringIO()
    json_sink(out)(Event("ready", "asr", {"port": 2233}))
    assert json.loads(out.getvalue()) == {"event": "ready", "service": "asr", "port": 2233}


def test_the_welcome_has_three_lines_to_paste_each_with_the_key() -> None:
    lines = [line for line in describe(Event("up", fields=UP)).splitlines() if "curl" in line]
    assert len(lines) == 3
    assert all('-H "Authorization: Token KEY"' in line for line in lines)


def test_a_key_of_this_machine_is_read_from_its_file() -> None:
    text = describe(Event("up", fields={**UP, "key_file": "/my state/license.key"}))
    assert text.count("Token $(cat '/my state/license.key')") == 3
    assert "key   KEY" in text


def test_a_crash_is_said_with_the_last_words_and_the_plan() -> None:
    fields = {"why": "killed by SIGKILL", "retry_in_s": 0.5, "log": "/l", "last_line": "[x] gone"}
    text = describe(Event("crashed", "asr", fields))
    assert "killed by SIGKILL" in text and "again in 0.5 s" in text and r"\[x] gone" in text


def test_a_final_replaces_the_interim() -> None:
    heard = Transcript()
    heard.take({"type": "transcription", "transcript": "hello wor", "is_final": False})
    assert heard.render().plain.strip() == "hello wor"
    heard.take({"type": "transcription", "transcript": "Hello world.", "is_final": True})
    heard.take({"type": "speech_started", "timestamp": 1.0})
    assert heard.render().plain.strip() == "Hello world."


def test_a_reader_that_goes_away_does_not_end_the_mesh() -> None:
    told: list[str] = []

    def sink(event: Event) -> None:
        told.append(event.kind)
        raise BrokenPipeError

    tell = lasting(sink)
    tell(Event("ready", "asr", {}))
    tell(Event("stopping", "asr", {}))
    assert told == ["ready"]
