"""The usage ledger: what was used, each event once, whatever happens to the process.

SQLite with a write-ahead log and full synchronisation: when `append` returns, the events are on the disk; when it does
not return, all of them are or none is, and appending them again is harmless.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import Internal, Unavailable
from common.state import PRIVATE_FILE

DAY_MS = 86_400_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq        INTEGER PRIMARY KEY,
    event_id   TEXT NOT NULL UNIQUE,
    key_id     TEXT NOT NULL,
    kind       INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    audio_ms   INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    features   TEXT NOT NULL,
    status     INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS days (
    key_id     TEXT NOT NULL,
    day        INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    audio_ms   INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) WITHOUT ROWID;
"""
_INSERT = "INSERT OR IGNORE INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_TO_DAY = """
INSERT INTO days VALUES (?, ?, 1, ?, ?) ON CONFLICT (key_id, day) DO UPDATE SET
    requests = requests + 1, audio_ms = audio_ms + excluded.audio_ms, characters = characters + excluded.characters
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One request in numbers. Fields as in proto/voxmesh/license/v1; `day` counts from 1970 in UTC."""

    event_id: str
    key_id: str
    kind: int
    at_ms: int
    audio_ms: int
    characters: int
    features: tuple[str, ...]
    status: int

    @property
    def day(self) -> int:
        return self.at_ms // DAY_MS


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums of one key."""

    requests: int = 0
    audio_ms: int = 0
    characters: int = 0


class Ledger:
    """The ledger file. For one thread at a time.

    Raises:
        Internal: the file is no ledger, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            path.chmod(PRIVATE_FILE)
        except (sqlite3.Error, OSError) as error:
            raise Internal(f"The usage ledger {path} cannot be opened ({type(error).__name__}).") from error

    def append(self, batches: Sequence[Sequence[Event]]) -> list[int]:
        """Writes all events in one transaction; returns how many of each batch were new.

        Raises:
            Unavailable: nothing was written (disk full, file locked by another process).
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                accepted = [sum(self._insert(event) for event in batch) for batch in batches]
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise Unavailable("Usage cannot be written down at the moment.") from error
        return accepted

    def usage(self, key_id: str, *, day: int | None = None) -> Usage:
        """Sums of a key, over one day or over all of them."""
        columns = "SUM(requests), SUM(audio_ms), SUM(characters)"
        query, values = f"SELECT {columns} FROM days WHERE key_id = ?", [key_id]  # noqa: S608  (constant)
        row = self._db.execute(
            query + (f" AND day = {int(day)}" if day is not None else ""), values
        ).fetchone()
        return Usage(*(int(value or 0) for value in row))

    def event_ids(self) -> list[str]:
        """Every event, oldest first."""
        return [event_id for (event_id,) in self._db.execute("SELECT event_id FROM events ORDER BY seq")]

    def close(self) -> None:
        self._db.close()

    def _insert(self, event: Event) -> int:
        values = (event.event_id, event.key_id, event.kind, event.at_ms, event.audio_ms, event.characters)
        new = self._db.execute(_INSERT, (*values, ",".join(event.features), event.status)).rowcount
        if new:
            self._db.execute(_ADD_TO_DAY, (event.key_id, event.day, event.audio_ms, event.characters))
        return new
