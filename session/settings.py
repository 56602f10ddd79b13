"""Settings of the session service."""

from typing import ClassVar

from pydantic import Field

from common.settings import ServiceSettings


class SessionSettings(ServiceSettings):
    service: ClassVar[str] = "session"
    prefixes: ClassVar[tuple[str, ...]] = ("SESSION_", "VOXMESH_")

    port: int = Field(6380, ge=0, le=65535, validation_alias="PORT")
    # How long Close waits for the ledger before it answers that it could not; the usage is delivered later anyway.
    report_wait_s: float = Field(4.0, gt=0, le=60, validation_alias="SESSION_REPORT_WAIT_S")
    # Results kept for other services in Redis; 0 switches the cache off. At most entries * size is held.
    cache_entries: int = Field(256, ge=0, le=1_000_000, validation_alias="SESSION_CACHE_ENTRIES")
    cache_entry_kb: int = Field(512, ge=1, le=4_000, validation_alias="SESSION_CACHE_ENTRY_KB")
    # Recognitions that outlive their request, kept in Redis until they are done. At most jobs * size is held.
    jobs: int = Field(64, ge=0, le=100_000, validation_alias="SESSION_JOBS")
    job_audio_mb: int = Field(32, ge=1, le=512, validation_alias="SESSION_JOB_AUDIO_MB")
    cache_ttl_s: float = Field(3600.0, gt=0, le=604_800, validation_alias="SESSION_CACHE_TTL_S")
