"""A voice's tensors by dotted name, seen from the module that uses them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors, and what the graph says about each convolution, under one prefix."""

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict
    )  # module name: stride, dilation, padding
    prefix: str = ""

    def sub(self, name: str) -> "Weights":
        """The same tensors seen from inside module `name`."""
        return Weights(self.tensors, self.settings, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Tensor:
        """Raises ValueError when the voice has no such tensor."""
        try:
            return self.tensors[self.prefix + name]
        except KeyError:
            raise ValueError(f"the voice lacks the weights {self.prefix}{name}") from None

    def get(self, name: str) -> Tensor | None:
        """The tensor, or None."""
        return self.tensors.get(self.prefix + name)

    def setting(self, name: str, default: int) -> int:
        """`stride`, `dilation` or `padding` of the convolution this prefix names."""
        return self.settings.get(self.prefix.removesuffix("."), {}).get(name, default)

    def indices(self, name: str) -> list[int]:
        """The numbers that follow `name.` in tensor names, in order: the members of a module list."""
        start = f"{self.prefix}{name}."
        members = {key[len(start) :].split(".")[0] for key in self.tensors if key.startswith(start)}
        return sorted(int(member) for member in members)

    def count(self, name: str) -> int:
        """How many members a module list has."""
        return len(self.indices(name))


def fingerprint(files: Iterable[Path]) -> str:
    """A hash of what these files hold, in this order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
