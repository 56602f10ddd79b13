"""Settings from the environment. A bad or unknown value stops the start with one clear line."""

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, TypeVar

import platformdirs
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

EXIT_BAD_SETTINGS = 2


class ServiceSettings(BaseSettings):
    """What every service reads.

    A subclass names its own variables with `Field(validation_alias=...)`; variables that begin with one of
    `prefixes` and that nobody reads are mistakes.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    service: ClassVar[str] = ""
    prefixes: ClassVar[tuple[str, ...]] = ("VOXMESH_",)

    host: str = Field("127.0.0.1", validation_alias="HOST")
    port: int = Field(0, ge=0, le=65535, validation_alias="PORT")
    ops_host: str = Field("127.0.0.1", validation_alias="OPS_HOST")
    ops_port: int = Field(0, ge=0, le=65535, validation_alias="OPS_PORT")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", validation_alias="LOG_LEVEL")
    log_format: str = Field("auto", pattern="^(auto|json|text)$", validation_alias="LOG_FORMAT")
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    shutdown_grace_s: float = Field(20.0, ge=0, validation_alias="SHUTDOWN_GRACE_S")
    # How long a stopping service says so before it takes no more: whoever routes to it needs that to send work elsewhere.
    drain_notice_s: float = Field(1.5, ge=0, validation_alias="DRAIN_NOTICE_S")
    mesh_address: str = Field("127.0.0.1:15001", validation_alias="MESH_ADDRESS")
    state_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_state_dir("voxmesh")),
        validation_alias="VOXMESH_STATE_DIR",
    )
    model_cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("voxmesh")) / "models",
        validation_alias=AliasChoices("MODEL_CACHE_DIR", "VOXMESH_MODEL_CACHE_DIR"),
    )
    license_key: str = Field("", validation_alias="LICENSE_KEY", repr=False)
    redis_url: str = Field("redis://127.0.0.1:6379", validation_alias="REDIS_URL", repr=False)


_Settings = TypeVar("_Settings", bound=ServiceSettings)


def load(kind: type[_Settings]) -> _Settings:
    """Reads the settings of a service, or says what is wrong with them and ends the process."""
    try:
        unknown = _unknown_variables(kind)
        if unknown:
            raise ValueError(unknown)
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        sys.exit(_complain(kind, f"{name}: {first['msg']}"))
    except ValueError as error:
        sys.exit(_complain(kind, str(error)))


def _complain(kind: type[ServiceSettings], what: str) -> int:
    print(f"✗ {kind.service or kind.__name__} cannot start: {what}", file=sys.stderr, flush=True)
    return EXIT_BAD_SETTINGS


def variables(kind: type[ServiceSettings]) -> set[str]:
    """Every environment variable the settings class reads."""
    names: set[str] = set()
    for field, info in kind.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, AliasChoices):
            names.update(choice for choice in alias.choices if isinstance(choice, str))
        else:
            names.add(alias if isinstance(alias, str) else field.upper())
    return names


def _unknown_variables(kind: type[ServiceSettings]) -> str:
    known = variables(kind)
    # The services of one mesh may share an environment, so a shared prefix admits every service's variables.
    for name in sorted(os.environ):
        if name.startswith(kind.prefixes) and name not in known:
            near = get_close_matches(name, known, n=1)
            return f"{name}: unknown setting" + (f", did you mean {near[0]}?" if near else "")
    return ""
