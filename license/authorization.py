"""Envoy's question for every call on the public gRPC listener: may it pass?"""

import base64
import json
import uuid

from common import metrics
from common.caller import FEATURES_HEADER, KEY_ID_HEADER, LEASE_HEADER, MAX_AUDIO_HEADER
from common.errors import ERROR_METADATA, PermissionDenied, Unauthenticated, VoxmeshError
from common.metering import OFFERED_LEASE_MS
from common.pb.envoy.service.auth.v3 import (
    AttributeContextHttpRequest,
    AuthorizationBase,
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    HeaderValue,
    HeaderValueOption,
    HttpStatus,
    OkHttpResponse,
    Status,
)
from license.gate import Gate
from license.keys import License
from license.leases import LeaseTable
from license.service import require_quota
from license.writer import LedgerWriter

KEY_HEADERS = ("authorization", "x-api-key")

_OPEN_PATHS = ("/grpc.health.v1.Health/", "/grpc.reflection.")
# Calls that take a place for as long as they run. The worker renews the lease; one that never gets the call does not.
_HELD_PATHS = ("/voxmesh.asr.v1.AsrService/Recognize", "/voxmesh.tts.v1.TtsService/Synthesize")
_FEATURE_BY_PATH = {"/voxmesh.asr.": "asr", "/voxmesh.tts.": "tts"}
_SCHEMES = {"bearer", "token"}
_GRPC_CODES = {  # by the names in common.errors
    "INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "INTERNAL": 13,
    "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}  # fmt: skip


class Authorization(AuthorizationBase):
    """Answers envoy.service.auth.v3. Calls count against every limit of their key, as those through the edge do: the
    answer passes on a lease, which the worker that serves the call renews, and gives back with what was used."""

    def __init__(self, gate: Gate, leases: LeaseTable, ledger: LedgerWriter) -> None:
        self._gate = gate
        self._leases = leases
        self._ledger = ledger

    async def check(self, message: CheckRequest) -> CheckResponse:
        request = message.attributes and message.attributes.request and message.attributes.request.http
        if not request:  # absent or empty
            return _denied(Unauthenticated("There is no request to judge."))
        if request.path.startswith(_OPEN_PATHS):
            return _passed({})
        try:
            document = self._gate.admit(_key_of(request))
            _require_path(document, request.path)
            await require_quota(document, self._ledger)
            lease_id = self._begin(document, request.path)
        except VoxmeshError as error:
            metrics.license_refusals.add(1, {"reason": error.code})
            return _denied(error)
        return _passed(_identity(document, lease_id))

    def _begin(self, document: License, path: str) -> str:
        """Counts the call; the lease it holds, if it is one that takes time."""
        if path not in _HELD_PATHS:
            self._leases.count_start(document)
            return ""
        lease, _ = self._leases.acquire(document, uuid.uuid4().hex, lease_ms=OFFERED_LEASE_MS)
        return lease.lease_id


def _key_of(request: AttributeContextHttpRequest) -> str:
    """The key a caller sent: `authorization: Bearer|Token <key>`, or the bare key in x-api-key."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name in KEY_HEADERS:
        value = headers.get(name, "").strip()
        if value:
            scheme, _, rest = value.partition(" ")
            return rest if scheme.lower() in _SCHEMES else value
    raise Unauthenticated("No license key was given: send the metadata `authorization: Token <license key>`.")


def _require_path(document: License, path: str) -> None:
    for prefix, feature in _FEATURE_BY_PATH.items():
        if path.startswith(prefix) and feature not in document.features:
            raise PermissionDenied(f"The license does not include {feature}.", feature=feature)


def _identity(document: License, lease_id: str) -> dict[str, str]:
    """What the worker learns of the caller."""
    said = {
        KEY_ID_HEADER: document.key_id,
        LEASE_HEADER: lease_id,
        FEATURES_HEADER: ",".join(document.features),
        MAX_AUDIO_HEADER: str(document.limits.max_audio_ms or ""),
    }
    return {name: value for name, value in said.items() if value}


def _passed(identity: dict[str, str]) -> CheckResponse:
    headers = [_header(name, value) for name, value in identity.items()]
    # The workers have no use for the key, so it ends here.
    answer = OkHttpResponse(headers=headers, headers_to_remove=list(KEY_HEADERS))
    return CheckResponse(status=Status(code=0), ok_response=answer)


def _denied(error: VoxmeshError) -> CheckResponse:
    code = _GRPC_CODES.get(error.grpc, _GRPC_CODES["INTERNAL"])
    payload = {"code": error.code, "retry_after_s": error.retry_after_s, "details": error.details}
    headers = [
        # Envoy would derive the gRPC status from the HTTP one, and call "too many requests" UNAVAILABLE.
        _header("grpc-status", str(code)),
        _header(ERROR_METADATA, base64.b64encode(json.dumps(payload).encode()).decode()),
        _header("x-voxmesh-error", error.code),
    ]
    if error.retry_after_s is not None:
        headers.append(_header("retry-after", str(max(1, round(error.retry_after_s)))))
    answer = DeniedHttpResponse(status=HttpStatus(code=error.http), headers=headers, body=error.message)
    return CheckResponse(Status(code, error.message), denied_response=answer)


def _header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value))
