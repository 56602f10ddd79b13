"""Sizes of a Whisper checkpoint."""

from dataclasses import dataclass

MEL_HOP_SAMPLES = 160  # one mel frame each 10 ms at 16 kHz
POSITION_SAMPLES = (
    2 * MEL_HOP_SAMPLES
)  # one encoder position each 20 ms: the second convolution halves the rate
POSITIONS_PER_S = 50
MULTILINGUAL_VOCAB = 51_865  # English-only checkpoints have one entry less


@dataclass(frozen=True, slots=True)
class Dims:
    """Sizes under the names of the original checkpoints; from tiny (4 x 384) to large-v3 (32 x 1280, 128 mels)."""

    n_mels: int
    n_vocab: int
    n_audio_ctx: int  # encoder positions of 30 s
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab >= MULTILINGUAL_VOCAB

    @property
    def default_alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """(layer, head) pairs of the upper half of the decoder, for checkpoints that do not name theirs."""
        layers = range(self.n_text_layer // 2, self.n_text_layer)
        return tuple((layer, head) for layer in layers for head in range(self.n_text_head))


SIZES = {
    "tiny": (384, 6, 4, 4),
    "base": (512, 8, 6, 6),
    "small": (768, 12, 12, 12),
    "medium": (1024, 16, 24, 24),
    "large-v3": (1280, 20, 32, 32),
    "large-v3-turbo": (1280, 20, 32, 4),
}


def dims_of(size: str) -> Dims:
    """Sizes of a published multilingual checkpoint; for weights made at random."""
    state, heads, audio_layers, text_layers = SIZES[size]
    v3 = size.startswith("large-v3")
    return Dims(
        n_mels=128 if v3 else 80,
        n_vocab=MULTILINGUAL_VOCAB + v3,
        n_audio_ctx=1500,
        n_audio_state=state,
        n_audio_head=heads,
        n_audio_layer=audio_layers,
        n_text_ctx=448,
        n_text_state=state,
        n_text_head=heads,
        n_text_layer=text_layers,
    )
