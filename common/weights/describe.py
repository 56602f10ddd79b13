"""What is known of a model before it is loaded."""

from dataclasses import dataclass
from pathlib import Path

from common.weights.cache import MANIFEST, Cache
from common.weights.fetch import resolve


@dataclass(frozen=True, slots=True)
class Description:
    """A model as `voxmesh models` shows it.

    Attributes:
        name: catalogue name, or the spec without secrets.
        kind: asr, tts, speaker, or "" when only the files will tell.
        description, licence, languages: from the catalogue, else empty.
        size_bytes: of all files; 0 when unknown.
        path: where it is, or None when it must be downloaded first.
    """

    name: str
    kind: str
    description: str
    licence: str
    languages: tuple[str, ...]
    size_bytes: int
    path: Path | None


def describe(spec: str, cache_dir: Path, *, thorough: bool = False) -> Description:
    """Looks, downloads nothing.

    Args:
        spec: see `common.weights.spec`.
        cache_dir: where models are kept.
        thorough: hash the cached files instead of trusting sizes and time stamps.

    Raises:
        BadSpec: the spec is wrong, or names something that is not there.
    """
    source = resolve(spec)
    path = source.directory or Cache(cache_dir).find(source.key, source.fingerprint, thorough=thorough)
    entry = source.entry
    if entry is None:
        files = [file for file in path.rglob("*") if file.is_file() and file.name != MANIFEST] if path else []
        return Description(source.label, "", "", "", (), sum(file.stat().st_size for file in files), path)
    return Description(
        entry.name, entry.kind, entry.description, entry.licence, entry.languages, entry.size_bytes, path
    )
