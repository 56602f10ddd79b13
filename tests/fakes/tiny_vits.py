"""A VITS with small random weights, under the names that Piper's exporter keeps: no download, no sound worth hearing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tts.model import VoiceInfo
from tts.models.vits import VitsVoice
from tts.models.weights import Weights

SYMBOLS, HIDDEN, LATENT, HEAD, WINDOW, BINS = 20, 16, 8, 8, 4, 10
STRIDES = (4, 2)
HOP = 8
RATE_HZ = 800  # 100 frames a second


def tiny_weights(*, speakers: int = 1, two_convs: bool = False, seed: int = 0) -> Weights:
    """`two_convs` builds the residual blocks of the "high" quality, two convolutions a step."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    settings: dict[str, Mapping[str, int]] = {}
    gin = 6 if speakers > 1 else 0

    def conv(name: str, out: int, inner: int, kernel: int = 1, dilation: int = 1, gain: float = 1.0) -> None:
        fan = (inner * kernel) ** 0.5
        tensors[f"{name}.weight"] = torch.randn(out, inner, kernel, generator=generator) * gain / fan
        tensors[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1
        settings[name] = {"dilation": dilation, "stride": 1, "padding": dilation * (kernel // 2)}

    def norm(name: str, size: int) -> None:
        tensors[f"{name}.gamma"] = 1 + torch.randn(size, generator=generator) * 0.1
        tensors[f"{name}.beta"] = torch.randn(size, generator=generator) * 0.1

    def separable(name: str) -> None:
        for i in range(2):
            conv(f"{name}.convs_sep.{i}", HIDDEN, 1, 3, 3**i)
            conv(f"{name}.convs_1x1.{i}", HIDDEN, HIDDEN)
            norm(f"{name}.norms_1.{i}", HIDDEN)
            norm(f"{name}.norms_2.{i}", HIDDEN)

    tensors["enc_p.emb.weight"] = torch.randn(SYMBOLS, HIDDEN, generator=generator) / HIDDEN**0.5
    for i in range(2):
        attention = f"enc_p.encoder.attn_layers.{i}"
        for name in "qkvo":
            conv(f"{attention}.conv_{name}", HIDDEN, HIDDEN)
        for name in "kv":
            tensors[f"{attention}.emb_rel_{name}"] = torch.randn(1, 2 * WINDOW + 1, HEAD, generator=generator)
        conv(f"enc_p.encoder.ffn_layers.{i}.conv_1", 2 * HIDDEN, HIDDEN, 3)
        conv(f"enc_p.encoder.ffn_layers.{i}.conv_2", HIDDEN, 2 * HIDDEN, 3)
        norm(f"enc_p.encoder.norm_layers_1.{i}", HIDDEN)
        norm(f"enc_p.encoder.norm_layers_2.{i}", HIDDEN)
    conv("enc_p.proj", 2 * LATENT, HIDDEN, gain=0.5)

    conv("dp.pre", HIDDEN, HIDDEN)
    conv("dp.proj", HIDDEN, HIDDEN)
    separable("dp.convs")
    tensors["dp.flows.0.m"] = torch.tensor([[-1.2], [0.0]])
    tensors["dp.flows.0.spread"] = torch.tensor([[0.7], [1.0]])
    for i in (3, 5):
        conv(f"dp.flows.{i}.pre", HIDDEN, 1)
        separable(f"dp.flows.{i}.convs")
        conv(f"dp.flows.{i}.proj", 3 * BINS - 1, HIDDEN)

    for i in (0, 2):
        conv(f"flow.flows.{i}.pre", HIDDEN, LATENT // 2)
        conv(f"flow.flows.{i}.post", LATENT // 2, HIDDEN)
        for layer in range(2):
            conv(f"flow.flows.{i}.enc.in_layers.{layer}", 2 * HIDDEN, HIDDEN, 5)
            conv(f"flow.flows.{i}.enc.res_skip_layers.{layer}", HIDDEN * (2 - layer), HIDDEN)
        if gin:
            conv(f"flow.flows.{i}.enc.cond_layer", 2 * HIDDEN * 2, gin)

    channels = 16
    conv("dec.conv_pre", channels, LATENT, 7)
    for i, stride in enumerate(STRIDES):
        conv(f"dec.ups.{i}", channels, channels // 2, 2 * stride)  # stored [in, out, kernel]
        tensors[f"dec.ups.{i}.bias"] = torch.randn(channels // 2, generator=generator) * 0.1
        settings[f"dec.ups.{i}"] = {"stride": stride, "padding": stride // 2, "dilation": 1}
        channels //= 2
        for kind, kernel in enumerate((3, 5)):
            for step in range(2):
                for name in ("convs1", "convs2") if two_convs else ("convs",):
                    dilation = 1 if name == "convs2" else 1 + 2 * step
                    block = f"dec.resblocks.{2 * i + kind}"
                    conv(f"{block}.{name}.{step}", channels, channels, kernel, dilation, gain=0.7)
    conv("dec.conv_post", 1, channels, 7)
    del tensors["dec.conv_post.bias"]
    if gin:
        tensors["emb_g.weight"] = torch.randn(speakers, gin, generator=generator)
        conv("dp.cond", HIDDEN, gin)
        conv("dec.cond", 16, gin)
    return Weights(tensors, settings)


def tiny_voice(
    name: str = "tiny",
    *,
    speakers: int = 1,
    two_convs: bool = False,
    dtype: torch.dtype = torch.float32,
    threads: int = 1,
) -> VitsVoice:
    """Two voices made with the same arguments are the same."""
    info = VoiceInfo(
        name=name,
        language="en-US",
        espeak_voice="en-us",
        sample_rate_hz=RATE_HZ,
        speakers=speakers,
        quality="",
        engine="vits",
        phoneme_id_map={chr(ord("a") + i): (i,) for i in range(SYMBOLS)},
        max_clause_ids=500,
    )
    weights = tiny_weights(speakers=speakers, two_convs=two_convs)
    return VitsVoice(
        info,
        weights,
        noise_scale=0.667,
        length_scale=1.0,
        noise_w=0.8,
        device="cpu",
        fast=dtype,
        threads=threads,
    )
