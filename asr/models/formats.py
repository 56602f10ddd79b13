"""Reads a Whisper checkpoint in any of the formats that others write."""

from pathlib import Path

from asr.models.checkpoint import BadCheckpoint, Checkpoint
from asr.models.ct2 import read_ct2
from asr.models.renamed import read_hf, read_openai


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a CTranslate2 or Hugging Face directory, or an OpenAI .pt file (or a directory that holds one).

    Raises:
        BadCheckpoint: none of these, damaged, or not a Whisper model.
    """
    if path.is_file() and path.suffix == ".pt":
        return read_openai(path)
    if (path / "model.bin").is_file():
        return read_ct2(path)
    if list(path.glob("*.safetensors")):
        return read_hf(path)
    if len(found := list(path.glob("*.pt"))) == 1:
        return read_openai(found[0])
    raise BadCheckpoint(f"{path.name}: found neither model.bin, nor *.safetensors, nor one *.pt")
