"""Loads a voice in Piper's format: an .onnx of VITS and an .onnx.json beside it.

The exporter keeps the names of most parameters. Those whose weight norm was folded away, and the tables it renamed,
are found by the path in the name of the node that uses them: `/flow/flows.6/enc/in_layers.0/Conv`.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tts.model import VoiceInfo
from tts.models.conv import fast_dtype
from tts.models.onnx_reader import Graph, read_graph
from tts.models.vits import VitsVoice
from tts.models.weights import Weights, fingerprint

_WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "Gather": 0}


def load_voice(
    path: Path, device: str = "cpu", threads: int | None = None, dtype: torch.dtype | None = None
) -> VitsVoice:
    """`path` is the .onnx file, or a directory that holds exactly one.

    `threads` is how many cores may work for it at once. `dtype` is that of the convolutions; None picks bf16 where the
    processor is fast at it. Raises ValueError for files that are not such a voice, FileNotFoundError without one.
    """
    if dtype == torch.float16 and device == "cpu":
        raise ValueError("fp16 is emulated on processors: use bf16 or fp32")
    model = _model_file(path)
    settings = model.with_name(model.name + ".json")
    config = json.loads(settings.read_text(encoding="utf-8"))
    weights = voice_weights(read_graph(model), torch.device(device))
    inference = config.get("inference", {})
    info = voice_info(model.name.removesuffix(".onnx"), config)
    return VitsVoice(
        replace(info, fingerprint=fingerprint([model, settings])),
        weights,
        noise_scale=float(inference.get("noise_scale", 0.667)),
        length_scale=float(inference.get("length_scale", 1.0)),
        noise_w=float(inference.get("noise_w", 0.8)),
        device=device,
        fast=fast_dtype(device) if dtype is None else dtype,
        threads=threads or 1,
    )


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.rglob("*.onnx"))
    if len(found) != 1:
        raise FileNotFoundError(f"{path} holds {len(found)} .onnx files, not one")
    return found[0]


def voice_info(name: str, config: dict[str, Any]) -> VoiceInfo:
    """What the .onnx.json says about the voice. Raises ValueError when it lacks what speaking needs."""
    try:
        symbols = {symbol: tuple(int(i) for i in ids) for symbol, ids in config["phoneme_id_map"].items()}
        audio, espeak = config["audio"], config.get("espeak", {}).get("voice", "en-us")
        language = config.get("language", {}).get("code") or espeak
        return VoiceInfo(
            name=name,
            language=language.replace("_", "-"),
            espeak_voice=espeak,
            sample_rate_hz=int(audio["sample_rate"]),
            speakers=int(config.get("num_speakers", 1)),
            quality=audio.get("quality", ""),
            engine="vits",
            phoneme_id_map=symbols,
            speaker_ids={k: int(v) for k, v in config.get("speaker_id_map", {}).items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the settings of voice {name} are incomplete") from error


def voice_weights(graph: Graph, device: torch.device) -> Weights:
    """Every floating-point tensor by its name in VITS, and the geometry of every convolution."""
    constants = {node.outputs[0]: node.value for node in graph.nodes if node.value is not None}
    known = graph.tensors | constants
    arrays = {name: array for name, array in graph.tensors.items() if not name.startswith(("/", "onnx::"))}
    settings: dict[str, dict[str, int]] = {}
    for node in graph.nodes:
        if not node.name.startswith("/"):
            continue
        module = node.name.strip("/").rpartition("/")[0].replace("/", ".")
        position = _WEIGHT_INPUT.get(node.op)
        if position is not None and node.inputs[position] in known:
            weight = known[node.inputs[position]]
            if weight.dtype.kind == "f" and weight.ndim >= 2:
                arrays[f"{module}.weight"] = weight
        if node.op in ("Conv", "ConvTranspose"):
            if len(node.inputs) > 2:
                arrays[f"{module}.bias"] = known[node.inputs[2]]
            defaults = {"strides": (1,), "dilations": (1,), "pads": (0, 0)} | node.ints
            settings[module] = {name[:-1]: defaults[name][0] for name in ("strides", "dilations")}
            settings[module]["padding"] = defaults["pads"][0]
        elif module == "dp.flows.0" and node.op == "Mul" and f"{module}.spread" not in arrays:
            factor = next((known[name] for name in node.inputs if name in known), None)
            if factor is not None:  # exp(-log scale), folded by the exporter
                arrays[f"{module}.spread"] = factor
    if "dp.flows.0.spread" not in arrays and "dp.flows.0.logs" in arrays:
        arrays["dp.flows.0.spread"] = np.exp(-arrays["dp.flows.0.logs"])
    tensors = {name: _to_torch(array).to(device) for name, array in arrays.items() if array.dtype.kind == "f"}
    return Weights(tensors, settings)


def _to_torch(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))
