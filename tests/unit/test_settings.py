"""A bad or unknown variable stops the start with one line."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from common.settings import EXIT_BAD_SETTINGS, ServiceSettings, load


class Settings(ServiceSettings):
    service: ClassVar[str] = "demo"
    prefixes: ClassVar[tuple[str, ...]] = ("DEMO_", "VOXMESH_")
    slots: int = Field(default=4, ge=1, validation_alias="DEMO_SLOTS")


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMO_SLOTS", "7")
    monkeypatch.setenv("PORT", "2233")
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path))
    settings = load(Settings)
    assert (settings.slots, settings.port, settings.model_cache_dir) == (7, 2233, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DEMO_SLOTS", "many", "DEMO_SLOTS"),
        ("DEMO_SLOTS", "0", "DEMO_SLOTS"),
        ("PORT", "70000", "PORT"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("DEMO_SLOT", "3", "did you mean DEMO_SLOTS?"),
    ],
)
def test_a_mistake_stops_the_start(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == EXIT_BAD_SETTINGS
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert says in error


def test_secrets_do_not_show() -> None:
    assert "vx1.secret" not in repr(Settings(license_key="vx1.secret"))
