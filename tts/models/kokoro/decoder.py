"""The decoder: features, pitch and energy of each frame to sound, one layer after the other."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tts.models.conv import Upsample
from tts.models.kokoro.blocks import Moments, ResidualBlock, SnakeBlock, Steps, TiledConv
from tts.models.kokoro.source import FRAME, HARMONICS, Source
from tts.models.weights import Weights

SLOPE, LAST_SLOPE = 0.1, 0.01
KINDS = 3  # residual blocks side by side after each upsampling
STRIDES = (10, 6)
SAMPLES_PER_FRAME = 2 * FRAME


class Decoder:
    """AdaIN blocks at two steps a frame at most, then the generator of iSTFTNet (Kaneko et al. 2022)."""

    def __init__(self, weights: Weights, fast: torch.dtype) -> None:
        self.curves = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in ("F0_conv", "N_conv")]
        self.encode = ResidualBlock(weights.sub("encode"), fast)
        self.decode = [ResidualBlock(weights.sub(f"decode.{i}"), fast) for i in weights.indices("decode")]
        self.around, self.around_bias = weights["asr_res.0.weight"][:, :, 0], weights["asr_res.0.bias"]
        generator = weights.sub("generator")
        self.source = Source(generator)
        self.noise_convs = [
            (generator[f"noise_convs.{i}.weight"], generator[f"noise_convs.{i}.bias"])
            for i in range(len(STRIDES))
        ]
        self.noise_blocks = [SnakeBlock(generator.sub(f"noise_res.{i}"), fast) for i in range(len(STRIDES))]
        self.ups = []
        for i, stride in enumerate(STRIDES):
            weight = generator[f"ups.{i}.weight"]
            padding = (weight.shape[2] - stride) // 2
            bias = generator[f"ups.{i}.bias"].to(fast)
            self.ups.append(Upsample(weight.to(fast), bias, stride, padding))
        self.blocks = [
            SnakeBlock(generator.sub(f"resblocks.{i}"), fast) for i in generator.indices("resblocks")
        ]
        # The logarithms of magnitudes come out of the last convolution: too coarse in bf16.
        self.last = TiledConv(generator.sub("conv_post"), torch.float32)
        self.fast = fast

    def __call__(
        self, text: Tensor, pitch: Tensor, energy: Tensor, style: Tensor, noise: Tensor | None
    ) -> Steps:
        """`text` [frames, channels], `pitch` and `energy` [2 * frames], `style` [128], `noise` as `Source` wants it.

        Returns [frames * SAMPLES_PER_FRAME] samples.
        """
        f0, n = (
            F.conv1d(curve.reshape(1, 1, -1), weight, bias, 2, 1).reshape(-1, 1)
            for curve, (weight, bias) in zip((pitch, energy), self.curves, strict=True)
        )
        x = self.encode(torch.cat([text, f0, n], 1), style)
        yield
        around = F.linear(text, self.around, self.around_bias)
        for block in self.decode:
            if len(x) == len(text):
                x = torch.cat([x, around, f0, n], 1)
            x = block(x, style)
            yield
        excitation = self.source(pitch, noise)
        yield
        for i, up in enumerate(self.ups):
            noisy = yield from self._excite(i, excitation, style)
            x = up(F.leaky_relu(x, SLOPE).to(self.fast).unsqueeze(0))[0].float()
            if i == len(self.ups) - 1:
                x = torch.cat([x[1:2], x])
            x += noisy
            del noisy
            yield
            moments, total = Moments.of(x), None
            for kind in self.blocks[KINDS * i : KINDS * (i + 1)]:
                y = yield from kind(x, moments, style)
                total = y if total is None else total.add_(y)
            assert total is not None
            x = total.div_(KINDS)
        return self.source.resynthesise(self.last(x, lambda part: F.leaky_relu(part, LAST_SLOPE))[0])

    def _excite(self, i: int, excitation: Tensor, style: Tensor) -> Steps:
        weight, bias = self.noise_convs[i]
        stride = weight.shape[2] // 2 or 1
        x = F.conv1d(excitation.T.unsqueeze(0), weight, bias, stride, stride // 2)[0].T.contiguous()
        yield
        x = yield from self.noise_blocks[i](x, Moments.of(x), style)
        return x


def noise_shape(frames: int) -> tuple[int, int]:
    """Of the noise for a clause of so many frames."""
    return frames * SAMPLES_PER_FRAME, HARMONICS
