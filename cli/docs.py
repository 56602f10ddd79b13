"""`voxmesh docs`: writes docs/grpc.md from the comments of proto/."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from cli.fail import Trouble
from cli.paths import ROOT

PAGE = ROOT / "docs" / "grpc.md"
CHAPTERS = (
    (
        "Public",
        "On port 7200, with the key in the metadata: `authorization: Bearer <key>`.",
        ("voxmesh/asr/v1/asr.proto", "voxmesh/tts/v1/tts.proto", "voxmesh/audio/v1/audio.proto"),
    ),
    (
        "For clients of NVIDIA Riva",
        "On port 7200, under the names that those clients know.",
        (
            "nvidia/riva/proto/riva_asr.proto",
            "nvidia/riva/proto/riva_tts.proto",
            "nvidia/riva/proto/riva_common.proto",
        ),
    ),
    (
        "Inside the mesh",
        "Between the services; no client needs them.",
        ("voxmesh/session/v1/session.proto", "voxmesh/license/v1/license.proto"),
    ),
)
_INTRODUCTION = """\
# gRPC

<!-- Made by ./voxmesh docs from the comments in proto/. -->

The contracts lie in `proto/`. A call from the command line:

```
grpcurl -plaintext -import-path proto -proto voxmesh/asr/v1/asr.proto \\
  -H "authorization: Bearer $KEY" localhost:7200 voxmesh.asr.v1.AsrService/ListModels
```

An error has a gRPC status, a message for people, and in its trailing metadata `voxmesh-error-bin`: JSON with the machine
code and its details. A message may have 4 MiB.
"""
# Numbers of FileDescriptorProto's and DescriptorProto's own fields, of which paths of comments are made.
_MESSAGES, _ENUMS, _SERVICES, _PACKAGE = 4, 5, 6, 2
_FIELDS, _NESTED, _NESTED_ENUMS, _METHODS, _VALUES = 2, 3, 4, 2, 2


def docs() -> None:
    """Write docs/grpc.md from the comments of proto/."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(ROOT / "proto"), encoding="utf-8")
    print(f"✓ {PAGE.relative_to(ROOT)} is up to date")


def render(source: Path) -> str:
    """The page.

    Raises:
        Trouble: the compiler is missing or refuses a file.
    """
    files = _compile(source)
    parts = [_INTRODUCTION]
    for title, about, names in CHAPTERS:
        parts.append(f"## {title}\n\n{about}\n")
        for name in names:
            parts += _File(files[name]).render()
    return "\n".join(parts)


def _compile(source: Path) -> dict[str, FileDescriptorProto]:
    names = [name for _, _, some in CHAPTERS for name in some]
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source}", f"--descriptor_set_out={found}"]
        options = ["--include_imports", "--include_source_info"]
        done = subprocess.run([*command, *options, *names], capture_output=True, text=True)
        if done.returncode:
            raise Trouble(f"protoc failed:\n{done.stderr.strip()}", "the tools come with: ./voxmesh test")
        return {file.name: file for file in FileDescriptorSet.FromString(found.read_bytes()).file}


@dataclass(frozen=True, slots=True)
class _Type:
    """A message or enum, under the name it has in its package."""

    name: str
    path: tuple[int, ...]
    shape: DescriptorProto | EnumDescriptorProto


class _File:
    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in file.source_code_info.location
            if place.leading_comments.strip()
        }

    def render(self) -> list[str]:
        file = self._file
        parts = [f"### {file.package}\n", self._say((_PACKAGE,))]
        for index, service in enumerate(file.service):
            path = (_SERVICES, index)
            parts += [f"#### service {service.name}\n", self._say(path)]
            rows = []
            for at, method in enumerate(service.method):
                asked = _streamed(method.input_type, method.client_streaming, file.package)
                answered = _streamed(method.output_type, method.server_streaming, file.package)
                rows.append((f"`{method.name}`", asked, answered, self._comment((*path, _METHODS, at))))
            parts.append(_table(("method", "takes", "answers", ""), rows))
        for one in self._types():
            word = "enum" if isinstance(one.shape, EnumDescriptorProto) else "message"
            parts += [f"#### {word} {one.name}\n", self._say(one.path)]
            if isinstance(one.shape, EnumDescriptorProto):
                values = [
                    (str(value.number), f"`{value.name}`", self._comment((*one.path, _VALUES, at)))
                    for at, value in enumerate(one.shape.value)
                ]
                parts.append(_table(("number", "name", ""), values))
            elif one.shape.field:
                fields = [
                    (
                        str(field.number),
                        f"`{field.name}`",
                        self._type_of(field, one.shape),
                        self._comment((*one.path, _FIELDS, at)),
                    )
                    for at, field in enumerate(one.shape.field)
                ]
                parts.append(_table(("number", "name", "type", ""), fields))
        return parts

    def _types(self) -> Iterator[_Type]:
        for index, message in enumerate(self._file.message_type):
            yield from _flat(message, "", (_MESSAGES, index))
        for index, enum in enumerate(self._file.enum_type):
            yield _Type(enum.name, (_ENUMS, index), enum)

    def _comment(self, path: tuple[int, ...]) -> str:
        return self._comments.get(path, "").replace("|", "\\|")

    def _say(self, path: tuple[int, ...]) -> str:
        comment = self._comments.get(path, "")
        return f"{comment}\n" if comment else ""

    def _type_of(self, field: FieldDescriptorProto, owner: DescriptorProto) -> str:
        package = self._file.package
        for nested in owner.nested_type:
            if nested.options.map_entry and field.type_name.endswith(f".{nested.name}"):
                key, value = (_name_of(one, package) for one in nested.field)
                return f"map of {key} to {value}"
        name = _name_of(field, package)
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"several {name}"
        if field.proto3_optional:
            return f"optional {name}"
        return (
            f"{name}, one of `{owner.oneof_decl[field.oneof_index].name}`"
            if field.HasField("oneof_index")
            else name
        )


def _flat(message: DescriptorProto, outer: str, path: tuple[int, ...]) -> Iterator[_Type]:
    if message.options.map_entry:
        return
    name = outer + message.name
    yield _Type(name, path, message)
    for index, nested in enumerate(message.nested_type):
        yield from _flat(nested, f"{name}.", (*path, _NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield _Type(f"{name}.{enum.name}", (*path, _NESTED_ENUMS, index), enum)


def _streamed(type_name: str, streams: bool, package: str) -> str:
    return f"{'stream of ' if streams else ''}{_short(type_name, package)}"


def _name_of(field: FieldDescriptorProto, package: str) -> str:
    if field.type_name:
        return _short(field.type_name, package)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _short(type_name: str, package: str) -> str:
    return f"`{type_name.removeprefix(f'.{package}.').removeprefix('.')}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)
