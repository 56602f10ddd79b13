"""A Kokoro with small random weights in the layout of its published checkpoint: no download, no sound worth hearing."""

from math import prod

import torch
from torch import Tensor

from tts.model import VoiceInfo
from tts.models.kokoro.voice import STYLE, KokoroNet, KokoroVoice
from tts.models.kokoro.weights import from_states
from tts.text.phonemes import END, START

SYMBOLS, PLACES, HEADS, LAYERS = 30, 64, 2, 2
BERT, WIDE, TEXT, BINS = 8, 16, 16, 12
INNER, GENERATOR = 32, 16  # channels of the decoder's blocks, and of the generator before its upsampling
STATES = dict[str, dict[str, Tensor]]


class _Maker:
    """Fills one state dict."""

    def __init__(self, generator: torch.Generator, *, parametrised: bool) -> None:
        self.state: dict[str, Tensor] = {}
        self._generator, self._parametrised = generator, parametrised

    def random(self, *shape: int, gain: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=self._generator) * gain

    def plain(self, name: str, *shape: int, bias: bool = True) -> None:
        fan = prod(shape[1:])
        self.state[f"module.{name}.weight"] = self.random(*shape, gain=fan**-0.5)
        if bias:
            self.state[f"module.{name}.bias"] = self.random(shape[0], gain=0.1)

    def normed(self, name: str, *shape: int, bias: int | None = -1) -> None:
        """A convolution with weight norm; `bias` -1 is as long as the first axis."""
        v, g = self.random(*shape), 0.5 + self.random(shape[0], *[1] * (len(shape) - 1)).abs()
        names = ("parametrizations.weight.original1", "parametrizations.weight.original0")
        for key, value in zip(names if self._parametrised else ("weight_v", "weight_g"), (v, g), strict=True):
            self.state[f"module.{name}.{key}"] = value
        if bias is not None:
            self.state[f"module.{name}.bias"] = self.random(shape[0] if bias < 0 else bias, gain=0.1)

    def lstm(self, name: str, channels: int, hidden: int) -> None:
        for direction in ("", "_reverse"):
            for gates, size in (("weight_ih", channels), ("weight_hh", hidden)):
                value = self.random(4 * hidden, size, gain=size**-0.5)
                self.state[f"module.{name}.{gates}_l0{direction}"] = value
                bias = f"module.{name}.{gates.replace('weight', 'bias')}_l0{direction}"
                self.state[bias] = self.random(4 * hidden, gain=0.1)

    def style(self, name: str, channels: int) -> None:
        self.plain(f"{name}.fc", 2 * channels, STYLE)

    def residual(self, name: str, channels: int, out: int, *, doubles: bool = False) -> None:
        self.style(f"{name}.norm1", channels)
        self.style(f"{name}.norm2", out)
        self.normed(f"{name}.conv1", out, channels, 3)
        self.normed(f"{name}.conv2", out, out, 3)
        if channels != out:
            self.normed(f"{name}.conv1x1", out, channels, 1, bias=None)
        if doubles:
            self.normed(f"{name}.pool", channels, 1, 3)

    def snake(self, name: str, channels: int, kernel: int) -> None:
        for i in range(3):
            for half in "12":
                self.style(f"{name}.adain{half}.{i}", channels)
                self.normed(f"{name}.convs{half}.{i}", channels, channels, kernel)
                self.state[f"module.{name}.alpha{half}.{i}"] = 0.5 + self.random(1, channels, 1).abs()


def tiny_states(*, parametrised: bool = False, seed: int = 0) -> STATES:
    """A state dict for each part, as torch saved them: wrapped, with weight norm of the older or newer kind."""
    generator = torch.Generator().manual_seed(seed)
    bert, narrow, text, predictor, decoder = (_Maker(generator, parametrised=parametrised) for _ in range(5))

    for table, rows in (("word", SYMBOLS), ("position", PLACES), ("token_type", 2)):
        bert.plain(f"embeddings.{table}_embeddings", rows, BERT, bias=False)
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    for name, size in (
        ("embeddings.LayerNorm", BERT),
        (f"{layer}.attention.LayerNorm", WIDE),
        (f"{layer}.full_layer_layer_norm", WIDE),
    ):
        bert.state[f"module.{name}.weight"] = 1 + bert.random(size, gain=0.1)
        bert.state[f"module.{name}.bias"] = bert.random(size, gain=0.1)
    bert.plain("encoder.embedding_hidden_mapping_in", WIDE, BERT)
    for name in ("query", "key", "value", "dense"):
        bert.plain(f"{layer}.attention.{name}", WIDE, WIDE)
    bert.plain(f"{layer}.ffn", 2 * WIDE, WIDE)
    bert.plain(f"{layer}.ffn_output", WIDE, 2 * WIDE)
    narrow.plain("", TEXT, WIDE)
    narrow.state = {name.replace("..", "."): value for name, value in narrow.state.items()}

    text.plain("embedding", SYMBOLS, TEXT, bias=False)
    for i in range(2):
        text.normed(f"cnn.{i}.0", TEXT, TEXT, 5)
        text.state[f"module.cnn.{i}.1.gamma"] = 1 + text.random(TEXT, gain=0.1)
        text.state[f"module.cnn.{i}.1.beta"] = text.random(TEXT, gain=0.1)
    text.lstm("lstm", TEXT, TEXT // 2)

    for i in (0, 2):
        predictor.lstm(f"text_encoder.lstms.{i}", TEXT + STYLE, TEXT // 2)
        predictor.style(f"text_encoder.lstms.{i + 1}", TEXT)
    predictor.lstm("lstm", TEXT + STYLE, TEXT // 2)
    predictor.plain("duration_proj.linear_layer", BINS, TEXT)
    predictor.lstm("shared", TEXT + STYLE, TEXT // 2)
    for name in ("F0", "N"):
        predictor.residual(f"{name}.0", TEXT, TEXT)
        predictor.residual(f"{name}.1", TEXT, TEXT // 2, doubles=True)
        predictor.plain(f"{name}_proj", 1, TEXT // 2, 1)

    for name in ("F0_conv", "N_conv"):
        decoder.normed(name, 1, 1, 3)
    decoder.residual("encode", TEXT + 2, INNER)
    decoder.normed("asr_res.0", 4, TEXT, 1)
    decoder.residual("decode.0", INNER + 6, INNER)
    decoder.residual("decode.1", INNER + 6, GENERATOR, doubles=True)
    decoder.plain("generator.m_source.l_linear", 1, 9)
    channels = GENERATOR
    for i, (stride, kernel) in enumerate(((10, 12), (6, 1))):
        channels //= 2
        decoder.normed(f"generator.ups.{i}", 2 * channels, channels, 2 * stride, bias=channels)
        decoder.plain(f"generator.noise_convs.{i}", channels, 22, kernel)
        decoder.snake(f"generator.noise_res.{i}", channels, 7)
        for kind, size in enumerate((3, 7, 11)):
            decoder.snake(f"generator.resblocks.{3 * i + kind}", channels, size)
    decoder.normed("generator.conv_post", 22, channels, 7)
    return {
        "bert": bert.state,
        "bert_encoder": narrow.state,
        "text_encoder": text.state,
        "predictor": predictor.state,
        "decoder": decoder.state,
    }


def tiny_kokoro(name: str = "af_tiny", *, states: STATES | None = None) -> KokoroVoice:
    """Two voices made with the same arguments are the same."""
    weights = from_states(states or tiny_states(), torch.device("cpu"))
    net = KokoroNet(weights, torch.float32, layers=LAYERS, heads=HEADS)
    info = VoiceInfo(
        name=name,
        language="en-US",
        espeak_voice="en-us",
        sample_rate_hz=24_000,
        speakers=1,
        quality="",
        engine="kokoro",
        phoneme_id_map={chr(ord("a") + i): (i + 1,) for i in range(26)} | {START: (0,), END: (0,)},
        max_clause_ids=40,
    )
    return KokoroVoice(info, net, torch.randn(40, 2 * STYLE, generator=torch.Generator().manual_seed(3)))
