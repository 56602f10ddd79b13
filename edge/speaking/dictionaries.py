"""Pronunciation dictionaries of callers: one file for each key, below the state directory."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from common.errors import InvalidArgument, NotFound, Unavailable
from common.state import make_private_dir, write_private
from edge.listening.requests import Dictionary, Pronunciations

MAX_DICTIONARIES = 100


class Dictionaries:
    """Every caller sees only what was made with the same key; the files do not name the key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def all(self, key: str) -> list[Dictionary]:
        """The caller's dictionaries, oldest first; raises Unavailable when the disk does not answer."""
        return await asyncio.to_thread(_read, self._path(key))

    async def create(self, key: str, items: Pronunciations) -> Dictionary:
        """A new dictionary; raises InvalidArgument when there are MAX_DICTIONARIES."""
        made = Dictionary(uuid.uuid4().hex[:24], items, datetime.now(UTC).isoformat(timespec="milliseconds"))

        def add(found: list[Dictionary]) -> list[Dictionary]:
            if len(found) >= MAX_DICTIONARIES:
                raise InvalidArgument(f"at most {MAX_DICTIONARIES} pronunciation dictionaries")
            return [*found, made]

        await asyncio.to_thread(self._change, key, add)
        return made

    async def update(self, key: str, id_: str, items: Pronunciations) -> Dictionary:
        """Other words for a dictionary; raises NotFound."""

        def change(found: list[Dictionary]) -> list[Dictionary]:
            _pick(found, id_)
            return [replace(one, items=items) if one.id == id_ else one for one in found]

        return _pick(await asyncio.to_thread(self._change, key, change), id_)

    async def delete(self, key: str, id_: str) -> None:
        """Forgets a dictionary; raises NotFound."""

        def drop(found: list[Dictionary]) -> list[Dictionary]:
            _pick(found, id_)
            return [one for one in found if one.id != id_]

        await asyncio.to_thread(self._change, key, drop)

    async def items(self, key: str, ids: Sequence[str]) -> Pronunciations:
        """The words of some dictionaries, later ones last; raises NotFound."""
        found = await self.all(key)
        return tuple(item for id_ in ids for item in _pick(found, id_).items)

    def _path(self, key: str) -> Path:
        return self._directory / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _change(self, key: str, change: Callable[[list[Dictionary]], list[Dictionary]]) -> list[Dictionary]:
        path = self._path(key)
        try:
            make_private_dir(self._directory)
            with FileLock(self._directory / ".lock", mode=0o600):  # other edges may share the directory
                changed = change(_read(path))
                write_private(path, json.dumps([asdict(one) for one in changed]).encode())
        except OSError as error:
            raise Unavailable("The pronunciation dictionaries cannot be stored now") from error
        return changed


def _read(path: Path) -> list[Dictionary]:
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise Unavailable("The pronunciation dictionaries cannot be read now") from error
    return [
        Dictionary(one["id"], tuple((word, said) for word, said in one["items"]), one["created_at"])
        for one in stored
    ]


def _pick(found: Sequence[Dictionary], id_: str) -> Dictionary:
    for one in found:
        if one.id == id_:
            return one
    raise NotFound("no such pronunciation dictionary", parameter="id")
