"""What the licence service keeps on the disk: its authority and the ledger."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import Internal, Unavailable
from common.state import authority_path, ledger_path, license_key_path, make_private_dir, read_license_key
from license.authority import load_or_create
from license.keys import verify
from license.ledger import DAY_MS, Event, Ledger, Usage
from tests.conftest import REPOSITORY


def make_event(event_id: str, *, key_id: str = "key-1", at_ms: int = DAY_MS, audio_ms: int = 1000) -> Event:
    return Event(event_id, key_id, 1, at_ms, audio_ms, 5, ("word_times",), 200)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_first_start_makes_a_key_that_later_starts_keep(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert read_license_key(state) is None
    first, second = load_or_create(state), load_or_create(state)
    assert first.license_key == second.license_key == read_license_key(state)
    assert first.lease_secret == second.lease_secret
    assert verify(first.license_key, [second.public]).features == ("asr", "tts", "streaming")


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    load_or_create(state)
    Ledger(ledger_path(state)).close()
    assert mode(state) == 0o700
    assert {mode(path) for path in (authority_path(state), license_key_path(state), ledger_path(state))} == {
        0o600
    }


def test_a_lost_or_foreign_licence_is_made_anew(tmp_path: Path) -> None:
    before = load_or_create(tmp_path)
    license_key_path(tmp_path).write_text("vx1.e30.e30")
    after = load_or_create(tmp_path)
    assert after.public.public_bytes_raw() == before.public.public_bytes_raw()
    assert verify(after.license_key, [before.public])


def test_a_damaged_authority_stops_the_start(tmp_path: Path) -> None:
    """Replacing it would void every key that was handed out."""
    load_or_create(tmp_path)
    authority_path(tmp_path).write_text("damaged")
    with pytest.raises(Internal, match="restore it"):
        load_or_create(tmp_path)


def test_a_state_directory_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(Internal, match="cannot be used"):
        load_or_create(tmp_path / "state")


def key_of(state: Path) -> str:
    return load_or_create(state).license_key


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(key_of, [tmp_path / "state"] * 6))) == 1


def test_an_event_counts_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage")
    assert ledger.append([[make_event("a"), make_event("b")], [make_event("a")]]) == [2, 0]
    assert ledger.append([[make_event("b"), make_event("c")]]) == [1]
    assert ledger.usage("key-1") == Usage(requests=3, audio_ms=3000, characters=15)
    ledger.close()


def test_usage_is_summed_by_key_and_day(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "usage")
    ledger.append([[make_event("a"), make_event("b", at_ms=2 * DAY_MS), make_event("c", key_id="key-2")]])
    assert ledger.usage("key-1", day=1).requests == ledger.usage("key-1", day=2).requests == 1
    assert ledger.usage("key-1").requests == 2
    assert ledger.usage("absent") == Usage()
    ledger.close()


def test_a_file_that_is_no_ledger_is_explained(tmp_path: Path) -> None:
    (tmp_path / "usage").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(Internal, match="cannot be opened"):
        Ledger(tmp_path / "usage")


def test_a_failed_write_writes_nothing(tmp_path: Path) -> None:
    """All of a transaction or none of it, and the ledger works again afterwards."""
    ledger = Ledger(tmp_path / "usage")
    huge = make_event("b", audio_ms=2**70)
    with pytest.raises((Unavailable, OverflowError)):
        ledger.append([[make_event("a"), huge]])
    assert ledger.event_ids() == []
    assert ledger.append([[make_event("a")]]) == [1]
    ledger.close()


WRITER = """
import sys
from pathlib import Path
from license.ledger import Event, Ledger
ledger = Ledger(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    events = [Event(f"e{number + n}", "key-1", 1, 0, 10, 1, (), 200) for n in range(3)]
    print(f"begin {number}", flush=True)
    ledger.append([events])
    print(f"done {number}", flush=True)
    number += 3
"""


def test_kill_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """A writer is killed in mid-work again and again. What it was told is written must be there, once; the report that
    was under way is sent again, as the reporter would."""
    path = tmp_path / "usage"
    make_private_dir(tmp_path)
    acknowledged = 0  # events; whatever was begun after them is sent again
    for round_ in range(8):
        command = [sys.executable, "-c", WRITER, str(path), str(acknowledged)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(10 + 7 * round_)]
        os.kill(process.pid, signal.SIGKILL)
        heard += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        done = [int(line.split()[1]) for line in heard if line.startswith("done ") and line.endswith("\n")]
        acknowledged = done[-1] + 3
    ledger = Ledger(path)
    written = ledger.event_ids()
    assert len(written) == len(set(written))
    assert {f"e{n}" for n in range(acknowledged)} <= set(written)
    assert ledger.usage("key-1") == Usage(len(written), 10 * len(written), len(written))
    ledger.close()


def test_the_disk_is_asked_for_every_commit(tmp_path: Path) -> None:
    """WAL with synchronous=FULL: an answered report survives a power cut, not only a killed process."""
    ledger = Ledger(tmp_path / "usage")
    database: sqlite3.Connection = ledger._db
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    ledger.close()
