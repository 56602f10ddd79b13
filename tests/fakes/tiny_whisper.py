"""A Whisper model small enough for tests: seeded weights, a byte-level tokenizer."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from asr.engine.tokens import WhisperTokens
from asr.models.dims import Dims
from asr.models.load import Source, random_source

SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|ja|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
BYTES = 256
TINY = Dims(
    n_mels=80,
    n_vocab=BYTES + len(SPECIALS),
    n_audio_ctx=1500,
    n_audio_state=64,
    n_audio_head=2,
    n_audio_layer=2,
    n_text_ctx=96,
    n_text_state=64,
    n_text_head=2,
    n_text_layer=2,
)


def tiny_tokens(*, multilingual: bool = True) -> WhisperTokens:
    """One token per byte of UTF-8, then the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: index for index, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIALS])
    return WhisperTokens(tokenizer, multilingual=multilingual)


def tiny_source(seed: int = 7) -> Source:
    """The weights; the same on every machine."""
    return random_source(TINY, seed)
