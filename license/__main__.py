"""Runs the licence service: `python -m license`."""

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

from common import logs, metrics
from common.errors import LicenseExpired, VoxmeshError
from common.ops import Readiness
from common.pb.voxmesh.license.v1 import LicenseState
from common.server import serve, start_process
from common.settings import EXIT_BAD_SETTINGS, load
from common.state import ledger_path
from license.authority import Authority, load_or_create
from license.authorization import Authorization
from license.gate import Gate, rfc3339
from license.keys import License, read_public_key
from license.leases import LeaseTable
from license.ledger import Ledger
from license.service import LicenseService, unix_ms
from license.settings import LicenseSettings
from license.writer import LedgerWriter

WATCH_S = 5.0
EXPIRY_NOTICE_MS = 7 * 86_400_000
EXPIRY_NOTICE_EVERY_MS = 3_600_000

log = logs.get_logger()


async def run(settings: LicenseSettings) -> None:
    """Serves until it is told to stop.

    Raises:
        VoxmeshError: the state directory, the ledger or the key is unusable.
    """
    authority = load_or_create(settings.state_dir)
    gate = Gate(_trusted(settings, authority), unix_ms)
    key = settings.license_key or authority.license_key
    document = _validate(gate, key)
    ledger = LedgerWriter(Ledger(ledger_path(settings.state_dir)))
    lease_ms = round(settings.lease_s * 1000)
    leases = LeaseTable(lambda: time.monotonic_ns() // 1_000_000, authority.lease_secret, lease_ms=lease_ms)
    ready = Readiness()
    ready.set("ledger", True)
    await serve(
        LicenseService(gate, leases, ledger, key),
        Authorization(gate, leases, ledger),
        settings=settings,
        ready=ready,
        background=[_announce(settings.port), _watch(document, leases)],
        on_stop=ledger.close,
        health_details=lambda: _health(gate, key),
        needed=lambda: len(leases) > 0,
    )


def _trusted(settings: LicenseSettings, authority: Authority) -> list[Any]:
    named = [text for text in settings.authority.split(",") if text.strip()]
    if named and not settings.license_key:
        raise VoxmeshError("LICENSE_AUTHORITY is set, so LICENSE_KEY must hold a key of that authority.")
    return [read_public_key(text) for text in named] or [authority.public]


def _validate(gate: Gate, key: str) -> License:
    """Says how the installation's key stands. An expired one lets the service run: it answers why it refuses.

    Raises:
        Unauthenticated: the key is none of the trusted authorities'.
    """
    state, document = gate.standing(key)
    if document is None:
        return gate.admit(key)  # raises, with the reason
    until = rfc3339(document.expires_ms)[:10] if document.expires_ms else "no end"
    if state is LicenseState.EXPIRED:
        logs.announce(f"⚠ License expired: {until}")
    else:
        logs.announce(f"✓ License validated successfully\n✓ License valid until: {until}")
    log.info("license", key_id=document.key_id, state=str(state.name), valid_until_ms=document.expires_ms)
    return document


def _health(gate: Gate, key: str) -> Mapping[str, Any]:
    state, document = gate.standing(key)
    until = rfc3339(document.expires_ms) if document and document.expires_ms else None
    return {
        "license_valid": state is LicenseState.VALID,
        "valid_until": until,
        "grace_period_active": state is LicenseState.GRACE,
    }


async def _announce(port: int) -> None:
    logs.announce(f"✓ Server listening on port {port}")


async def _watch(document: License, leases: LeaseTable) -> None:
    """Lets leases lapse, keeps their gauge true, and warns before the licence ends."""
    shown, noticed_ms = 0, 0
    metrics.license_proxy_grace_period_active.set(0)
    while True:
        if lapsed := leases.sweep():
            log.warning("leases_lapsed", count=lapsed)
        leases.forget_idle_keys()
        metrics.license_leases.add(len(leases) - shown)
        shown, now_ms = len(leases), unix_ms()
        left_ms = document.expires_ms - now_ms
        if (
            document.expires_ms
            and left_ms < EXPIRY_NOTICE_MS
            and now_ms - noticed_ms > EXPIRY_NOTICE_EVERY_MS
        ):
            noticed_ms = now_ms
            state = LicenseExpired.code if left_ms <= 0 else "LICENSE_ENDS_SOON"
            log.warning(
                "license_end", state=state, key_id=document.key_id, days_left=max(left_ms // 86_400_000, 0)
            )
        await asyncio.sleep(WATCH_S)


def main() -> None:
    settings = load(LicenseSettings)
    start_process(settings)
    try:
        asyncio.run(run(settings))
    except VoxmeshError as error:
        print(f"✗ license cannot start: {error.message}", file=sys.stderr, flush=True)
        sys.exit(EXIT_BAD_SETTINGS)


if __name__ == "__main__":
    main()
