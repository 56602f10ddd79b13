"""Settings of the edge."""

from typing import ClassVar

from pydantic import AliasChoices, Field

from common.settings import ServiceSettings

MIB = 1024 * 1024


class EdgeSettings(ServiceSettings):
    """Ports, addresses and limits; a licence may set narrower limits of its own."""

    service: ClassVar[str] = "edge"
    prefixes: ClassVar[tuple[str, ...]] = ("VOXMESH_", "EDGE_")

    port: int = Field(7100, ge=0, le=65535, validation_alias=AliasChoices("PORT", "API_SERVER_PORT"))
    # Where the services are is the sidecar's business; these two only make the start lines tell the truth.
    asr_base_url: str = Field("", validation_alias=AliasChoices("LIGHTNING_ASR_BASE_URL", "ASR_BASE_URL"))
    license_base_url: str = Field("", validation_alias="API_BASE_URL")
    required_services: str = Field(
        "asr,tts,license,session",
        pattern="^(asr|tts|license|session)(,(asr|tts|license|session))*$",
        validation_alias="EDGE_REQUIRED_SERVICES",
        description="services without which /health says unhealthy",
    )
    sidecar_admin: str = Field(
        "", validation_alias="EDGE_SIDECAR_ADMIN", description="host:port that counts the workers"
    )
    # Lets requests without a key in as the installation itself, with LICENSE_KEY.
    anonymous: bool = Field(False, validation_alias="EDGE_ANONYMOUS")
    # gRPC for clients of other vendors; the sidecar's public listener routes them here. 0 serves none.
    grpc_host: str = Field("127.0.0.1", validation_alias="EDGE_GRPC_HOST")
    grpc_port: int = Field(0, ge=0, le=65535, validation_alias="EDGE_GRPC_PORT")
    # Wyoming has no keys: whoever reaches these ports uses the licence of the installation.
    wyoming: bool = Field(False, validation_alias="EDGE_WYOMING")
    wyoming_host: str = Field("127.0.0.1", validation_alias="EDGE_WYOMING_HOST")
    wyoming_stt_port: int = Field(10300, ge=1, le=65535, validation_alias="EDGE_WYOMING_STT_PORT")
    wyoming_tts_port: int = Field(10200, ge=1, le=65535, validation_alias="EDGE_WYOMING_TTS_PORT")
    twilio_path: str = Field("/twilio", pattern="^/[A-Za-z0-9/_-]+$", validation_alias="EDGE_TWILIO_PATH")
    cors_origins: str = Field("", validation_alias="EDGE_CORS_ORIGINS", description="comma list, or *")

    max_request_mb: int = Field(100, ge=1, le=4096, validation_alias="EDGE_MAX_REQUEST_MB")
    max_audio_s: int = Field(7_200, ge=1, validation_alias="EDGE_MAX_AUDIO_S")
    max_text_chars: int = Field(100_000, ge=1, validation_alias="EDGE_MAX_TEXT_CHARS")
    request_timeout_s: float = Field(1_800, gt=0, validation_alias="EDGE_REQUEST_TIMEOUT_S")
    body_timeout_s: float = Field(
        60, gt=0, validation_alias="EDGE_BODY_TIMEOUT_S", description="between two reads"
    )
    admission_timeout_s: float = Field(5, gt=0, validation_alias="EDGE_ADMISSION_TIMEOUT_S")

    max_frame_kb: int = Field(2_048, ge=64, validation_alias="EDGE_MAX_FRAME_KB")
    heartbeat_s: float = Field(20, gt=0, validation_alias="EDGE_HEARTBEAT_S")
    listen_idle_s: float = Field(300, gt=0, validation_alias="EDGE_LISTEN_IDLE_S")
    speak_idle_s: float = Field(60, gt=0, validation_alias="EDGE_SPEAK_IDLE_S")
    slow_client_s: float = Field(30, gt=0, validation_alias="EDGE_SLOW_CLIENT_S")
    worker_silence_s: float = Field(
        10,
        ge=0.4,
        le=600,
        validation_alias="EDGE_WORKER_SILENCE_S",
        description="a recogniser that says nothing for so long hangs: its streams move",
    )
    last_words_s: float = Field(
        30, gt=0, validation_alias="EDGE_LAST_WORDS_S", description="wait after the end"
    )

    # What live streams would need on another edge is kept in Redis for a minute, so that clients can resume.
    resume: bool = Field(True, validation_alias="EDGE_RESUME")
    resume_interval_s: float = Field(1, ge=0.05, le=20, validation_alias="EDGE_RESUME_INTERVAL_S")

    # Signs callbacks; without it the caller's own licence key does.
    callback_secret: str = Field("", validation_alias="EDGE_CALLBACK_SECRET", repr=False)
    callback_attempts: int = Field(10, ge=1, le=100, validation_alias="EDGE_CALLBACK_ATTEMPTS")
    callback_timeout_s: float = Field(10, gt=0, validation_alias="EDGE_CALLBACK_TIMEOUT_S")
    callback_pause_s: float = Field(
        1,
        gt=0,
        validation_alias="EDGE_CALLBACK_PAUSE_S",
        description="before the second attempt, then doubled",
    )
    jobs_at_once: int = Field(4, ge=1, validation_alias="EDGE_JOBS_AT_ONCE")
    max_jobs: int = Field(64, ge=1, validation_alias="EDGE_MAX_JOBS", description="running and waiting")
    job_watch_s: float = Field(
        4,
        gt=0,
        le=10,
        validation_alias="EDGE_JOB_WATCH_S",
        description="between two looks for jobs that another edge has left behind",
    )
    max_deliveries: int = Field(1_000, ge=1, validation_alias="EDGE_MAX_DELIVERIES")

    fetch_timeout_s: float = Field(60, gt=0, validation_alias="EDGE_FETCH_TIMEOUT_S")
    fetch_private: bool = Field(
        False, validation_alias="EDGE_FETCH_PRIVATE", description="urls into private networks"
    )

    # Credentials to read s3:// urls with; without them such a url is refused.
    s3_access_key_id: str = Field("", validation_alias="EDGE_S3_ACCESS_KEY_ID", repr=False)
    s3_secret_access_key: str = Field("", validation_alias="EDGE_S3_SECRET_ACCESS_KEY", repr=False)
    s3_session_token: str = Field("", validation_alias="EDGE_S3_SESSION_TOKEN", repr=False)
    s3_region: str = Field("us-east-1", pattern="^[a-z0-9-]+$", validation_alias="EDGE_S3_REGION")
    s3_endpoint: str = Field(
        "",
        pattern="^(https?://[^/]+/?)?$",
        validation_alias="EDGE_S3_ENDPOINT",
        description="of a store that is not Amazon's; it may be in a private network",
    )

    @property
    def max_request_bytes(self) -> int:
        return self.max_request_mb * MIB

    @property
    def max_audio_ms(self) -> int:
        return self.max_audio_s * 1000

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(self.required_services.split(","))
