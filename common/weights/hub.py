"""Models on a hub that speaks the Hugging Face API: hf://org/repo[@revision][/path].

`HF_ENDPOINT` names another hub or a mirror, `HF_TOKEN` opens private and gated repositories.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from common.weights.cache import Workspace, require_space
from common.weights.download import TIMEOUT, Remote, download
from common.weights.errors import BadSpec, Unreachable
from common.weights.progress import OnProgress
from common.weights.spec import Spec

DEFAULT_ENDPOINT = "https://huggingface.co"

_LOCATION = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>[^@]+))?")
# What a Whisper checkpoint is made of, whoever wrote it (transformers, CTranslate2, OpenAI).
_SIDE_FILES = {
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    "vocab.json", "vocabulary.json", "vocabulary.txt", "merges.txt", "normalizer.json", "added_tokens.json",
    "special_tokens_map.json", "model.safetensors.index.json",
}  # fmt: skip
# Weights in the order of preference; the first kind that is there is taken.
_WEIGHTS = (
    re.compile(r"model(-\d+-of-\d+)?\.safetensors"),
    re.compile(r"model\.bin"),
    re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin"),
    re.compile(r"[\w.-]+\.pt"),
)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; size in bytes (0: unknown), sha256 known for large files only."""

    path: str
    size: int
    sha256: str | None


def gather(
    spec: Spec, work: Workspace, on_progress: OnProgress, *, sleep: Callable[[float], None] | None = None
) -> None:
    """Downloads the model's files of one revision.

    Raises:
        BadSpec: not org/repo, or nothing (or more than one model) at that path.
        Unreachable: the hub does not answer, or refuses.
    """
    match = _LOCATION.fullmatch(spec.location)
    if match is None:
        raise BadSpec(f"hf:// needs org/repo[@revision][/path], not {spec.location[:80]!r}.")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    token = os.environ.get("HF_TOKEN", "")
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    listing = f"{endpoint}/api/models/{match['repo']}/revision/{quote(match['revision'] or 'main', safe='')}?blobs=true"
    commit, files = _list(spec, listing, headers)
    chosen = choose(files, match["path"] or "")
    total = sum(file.size for file in chosen)
    require_space(work.staging, total)
    done = 0
    for file in chosen:
        remote = Remote(
            url=f"{endpoint}/{match['repo']}/resolve/{commit}/{quote(file.path)}",
            label=f"{spec.label}: {file.path}",
            sha256=file.sha256,
            headers=headers,
            plain=endpoint.startswith("http://"),  # whoever sets such an endpoint has chosen it
        )
        name = PurePosixPath(file.path).name

        def report(what: str, size: int, _: int, before: int = done) -> None:
            on_progress(spec.label, before + size, max(total, before + size))

        download(remote, work.partial / name, report, **({"sleep": sleep} if sleep else {}))
        done += (work.partial / name).stat().st_size
    for file in chosen:
        name = PurePosixPath(file.path).name
        (work.partial / name).rename(work.staging / name)
        if file.sha256:
            work.expected[name] = file.sha256


def choose(files: list[HubFile], path: str) -> list[HubFile]:
    """The files that make one model, at the top of the repository or at `path` in it (a directory or a voice file).

    Raises:
        BadSpec: there is no model, or more than one.
    """
    by_path = {file.path: file for file in files}
    if path in by_path:
        return [by_path[path], *(by_path[beside] for beside in (f"{path}.json",) if beside in by_path)]
    here = {
        PurePosixPath(file.path).name: file
        for file in files
        if str(PurePosixPath(file.path).parent) == (path.strip("/") or ".")
    }
    voices = [name for name in here if name.endswith(".onnx") and f"{name}.json" in here]
    if len(voices) == 1:
        return [here[voices[0]], here[f"{voices[0]}.json"]]
    if len(voices) > 1:
        raise BadSpec(f"There are {len(voices)} voices there: add the path of one, such as /{voices[0]}.")
    for pattern in _WEIGHTS:
        if weights := [file for name, file in sorted(here.items()) if pattern.fullmatch(name)]:
            return [*weights, *(file for name, file in sorted(here.items()) if name in _SIDE_FILES)]
    nested = sorted(file.path for file in files if file.path.endswith(".onnx"))
    hint = f" It has voices further down: add a path such as /{nested[0]}." if nested else ""
    raise BadSpec(f"No Whisper checkpoint or Piper voice there.{hint}")


class _Passing(Exception):
    pass


def _list(spec: Spec, url: str, headers: tuple[tuple[str, str], ...]) -> tuple[str, list[HubFile]]:
    """The commit a revision stands for, and its files."""
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(4),
            wait=wait_exponential(multiplier=0.3, max=5),
        ):
            with attempt:
                answer = _ask(spec, url, headers)
    except RetryError as error:
        raise Unreachable(
            f"The hub did not answer when asked for {spec.label}; HF_ENDPOINT names another."
        ) from error
    try:
        siblings = [_hub_file(sibling) for sibling in answer["siblings"]]
        return str(answer["sha"]), siblings
    except (KeyError, TypeError) as error:
        raise Unreachable(f"The hub's answer about {spec.label} is not one of a model hub.") from error


def _ask(spec: Spec, url: str, headers: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    try:
        response = httpx.get(url, headers=dict(headers), timeout=TIMEOUT, follow_redirects=True)
    except httpx.TransportError as error:
        raise _Passing from error
    if response.status_code >= 500 or response.status_code == 429:
        raise _Passing
    if response.status_code in (401, 403):
        raise Unreachable(f"The hub refuses {spec.label}: it does not exist, or HF_TOKEN must be set.")
    if response.status_code == 404:
        raise BadSpec(f"The hub has no {spec.label}.")
    if not response.is_success:
        raise Unreachable(f"The hub answered {response.status_code} when asked for {spec.label}.")
    try:
        answer = response.json()
    except ValueError as error:
        raise Unreachable(f"The hub's answer about {spec.label} is not JSON.") from error
    return dict(answer) if isinstance(answer, dict) else {}


def _hub_file(sibling: dict[str, Any]) -> HubFile:
    lfs = sibling.get("lfs") or {}
    return HubFile(
        str(sibling["rfilename"]), int(sibling.get("size") or lfs.get("size") or 0), lfs.get("sha256")
    )
