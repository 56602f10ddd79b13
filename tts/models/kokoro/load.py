"""Loads the voices of a directory: `model.onnx` with `vocab.json` and an .npz of styles, as the catalogue has it, or a
checkpoint (`*.pth`) with `config.json` and `voices/*.pt`, as hexgrad publishes it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tts.model import VoiceInfo
from tts.models.conv import fast_dtype
from tts.models.kokoro.source import RATE_HZ
from tts.models.kokoro.voice import EDGES, KokoroNet, KokoroVoice
from tts.models.kokoro.weights import from_checkpoint, from_graph
from tts.models.onnx_reader import read_graph
from tts.models.weights import fingerprint
from tts.text.phonemes import END, START

# A voice's name begins with its language and f or m. Mandarin ("z") needs tones that nothing here writes.
LANGUAGES = {
    "a": ("en-US", "en-us"),
    "b": ("en-GB", "en-gb"),
    "e": ("es-ES", "es"),
    "f": ("fr-FR", "fr-fr"),
    "h": ("hi-IN", "hi"),
    "i": ("it-IT", "it"),
    "j": ("ja-JP", "en-us"),  # espeak-ng reads only what is not Japanese
    "p": ("pt-BR", "pt-br"),
}
# A longer clause would hold up its listener for seconds: about 14 s of speech.
MAX_CLAUSE_IDS = 240
_FILES = (".onnx", ".pth", ".npz", ".pt", ".json")


def is_kokoro(path: Path) -> bool:
    """Whether the files of a directory are Kokoro's."""
    return path.is_dir() and ((path / "vocab.json").is_file() or _checkpoint(path) is not None)


def load_voices(
    path: Path, device: str = "cpu", threads: int | None = None, dtype: torch.dtype | None = None
) -> list[KokoroVoice]:
    """Every voice of the directory whose language can be read, in order of their names.

    `threads` sets torch's threads of the whole process; `dtype` is that of the large products, None picks bf16 where
    the processor is fast at it. Raises ValueError or FileNotFoundError for files that are not Kokoro's.
    """
    if dtype == torch.float16 and device == "cpu":
        raise ValueError("fp16 is emulated on processors: use bf16 or fp32")
    if threads is not None:
        torch.set_num_threads(threads)
    fast = fast_dtype(device) if dtype is None else dtype
    checkpoint = _checkpoint(path)
    if checkpoint is None:
        vocabulary = json.loads((path / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        net = KokoroNet(from_graph(read_graph(path / "model.onnx"), torch.device(device)), fast)
    else:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        vocabulary, albert = config["vocab"], config.get("plbert", {})
        net = KokoroNet(
            from_checkpoint(checkpoint, torch.device(device)),
            fast,
            layers=int(albert.get("num_hidden_layers", 12)),
            heads=int(albert.get("num_attention_heads", 12)),
        )
    symbols = {sign: (int(number),) for sign, number in vocabulary.items()} | {START: (0,), END: (0,)}
    print_ = fingerprint(sorted(file for file in path.rglob("*") if file.suffix in _FILES))
    voices = [
        KokoroVoice(
            _info(name, print_, symbols, min(MAX_CLAUSE_IDS, len(styles) + EDGES, net.places)), net, styles
        )
        for name, styles in sorted(_styles(path).items())
        if name[:1] in LANGUAGES
    ]
    if not voices:
        raise FileNotFoundError(f"{path} holds no voice whose language is known")
    return voices


def _checkpoint(path: Path) -> Path | None:
    if not (path / "config.json").is_file():
        return None
    return next(iter(sorted(path.glob("*.pth"))), None)


def _info(name: str, print_: str, symbols: Mapping[str, tuple[int, ...]], longest: int) -> VoiceInfo:
    language, espeak_voice = LANGUAGES[name[0]]
    return VoiceInfo(
        name=name,
        language=language,
        espeak_voice=espeak_voice,
        sample_rate_hz=RATE_HZ,
        speakers=1,
        quality="high",
        engine="kokoro",
        phoneme_id_map=symbols,
        max_clause_ids=longest,
        fingerprint=print_,
    )


def _styles(path: Path) -> dict[str, Tensor]:
    """Styles [longest text, values] by the name of the voice."""
    found: dict[str, Any] = {}
    for file in sorted(path.glob("*.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            found |= {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    for file in sorted((path / "voices").glob("*.pt")):
        found[file.stem] = torch.load(file, map_location="cpu", weights_only=True)
    return {name: styles.flatten(1) for name, styles in found.items()}
