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
