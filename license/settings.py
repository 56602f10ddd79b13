"""Settings of the licence service."""

from typing import ClassVar

from pydantic import Field

from common.settings import ServiceSettings


class LicenseSettings(ServiceSettings):
    """Without LICENSE_AUTHORITY the service is its own authority and makes the key of the installation itself."""

    service: ClassVar[str] = "license"
    prefixes: ClassVar[tuple[str, ...]] = ("LICENSE_", "VOXMESH_")

    port: int = Field(6699, ge=0, le=65535, validation_alias="PORT")
    # Public keys whose licences count, base64, separated by commas.
    authority: str = Field("", validation_alias="LICENSE_AUTHORITY")
    # How long a request keeps its place when nobody renews it.
    lease_s: float = Field(60.0, ge=5, le=3600, validation_alias="LICENSE_LEASE_S")
