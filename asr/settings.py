"""Settings of the recogniser service."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from common.settings import ServiceSettings

MAX_CHECKPOINTS = 3


class AsrSettings(ServiceSettings):
    """Environment of `python -m asr`; MODEL_CACHE_DIR, LICENSE_KEY, REDIS_URL and the rest are everyone's."""

    service: ClassVar[str] = "asr"
    prefixes: ClassVar[tuple[str, ...]] = ("VOXMESH_", "ASR_")

    port: int = Field(2233, ge=0, le=65535, validation_alias="PORT")
    # Comma list of names in the catalogue, or pypi:, https:, hf:, file: with an optional #sha256=.
    model_url: str = Field("whisper-base", validation_alias="MODEL_URL")
    # A file that holds the comma list instead; SIGHUP reads it again and loads what it names.
    model_file: Path | None = Field(None, validation_alias="ASR_MODEL_FILE")
    gpu_device_id: int = Field(0, ge=0, validation_alias="GPU_DEVICE_ID")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$", validation_alias="ASR_DEVICE")
    threads: int = Field(0, ge=0, le=256, validation_alias="ASR_THREADS")  # 0: every core of the process
    slots: int = Field(0, ge=0, le=512, validation_alias="ASR_SLOTS")  # decodes side by side; 0: by device
    # Streams and requests at once, per checkpoint; 0: 128, 64 or 48 for 1, 2 or 3 on a GPU, less on a CPU.
    capacity: int = Field(0, ge=0, le=4096, validation_alias="ASR_CAPACITY")

    # New live streams are refused while the finals of those there are take the engine longer than this; 0: never.
    max_delay_ms: int = Field(1_500, ge=0, le=60_000, validation_alias="ASR_MAX_DELAY_MS")

    endpointing_ms: int = Field(600, ge=0, le=60_000, validation_alias="ASR_ENDPOINTING_MS")
    vad_threshold: float = Field(0.5, gt=0, lt=1, validation_alias="ASR_VAD_THRESHOLD")
    interim_ms: int = Field(240, ge=50, le=10_000, validation_alias="ASR_INTERIM_MS")
    cut_ms: int = Field(15_000, ge=5_000, le=25_000, validation_alias="ASR_CUT_MS")
    segment_ms: int = Field(25_000, ge=2_000, le=29_000, validation_alias="ASR_SEGMENT_MS")
    # Batch: give every segment the text before it, which makes the segments of one recording sequential.
    previous_text: bool = Field(False, validation_alias="ASR_PREVIOUS_TEXT")

    # Audio of one stream that may wait for the model, and how long it may stay that much.
    backlog_ms: int = Field(60_000, ge=35_000, le=600_000, validation_alias="ASR_BACKLOG_MS")
    backlog_patience_s: float = Field(30.0, gt=0, validation_alias="ASR_BACKLOG_PATIENCE_S")
    max_audio_s: int = Field(0, ge=0, validation_alias="ASR_MAX_AUDIO_S")  # per batch request; 0: no limit

    # Speaker labels load their model when a caller first asks for them, or at the start.
    diarize: bool = Field(False, validation_alias="ASR_DIARIZE")
    speaker_model: str = Field("speaker-ge2e", min_length=1, validation_alias="ASR_SPEAKER_MODEL")

    @field_validator("model_url")
    @classmethod
    def _some_checkpoints(cls, value: str) -> str:
        _entries(value)
        return value

    def current_checkpoints(self) -> list[str]:
        """The entries of MODEL_URL, or of ASR_MODEL_FILE as it is now.

        Raises:
            ValueError: the file names none, or too many.
            OSError: it cannot be read.
        """
        return _entries(self.model_file.read_text("utf-8") if self.model_file else self.model_url)


def _entries(text: str) -> list[str]:
    entries = [part.strip() for part in text.split(",") if part.strip()]
    if not 1 <= len(entries) <= MAX_CHECKPOINTS:
        raise ValueError(f"name 1 to {MAX_CHECKPOINTS} checkpoints, separated by commas")
    return entries
