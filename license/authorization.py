"""Envoy's question for every call on the public gRPC listener: may it pass?"""

import base64
import json

from common import metrics
from common.errors import PermissionDenied, Unauthenticated, VoxmeshError
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
from common.rpc import ERROR_METADATA
from license.gate import Gate
from license.keys import License
from license.leases import LeaseTable
from license.service import require_quota
from license.writer import LedgerWriter

KEY_ID_HEADER = "x-voxmesh-key-id"
KEY_HEADERS = ("authorization", "x-api-key")

_OPEN_PATHS = ("/grpc.health.v1.Health/", "/grpc.reflection.")
_FEATURE_BY_PATH = {"/voxmesh.asr.": "asr", "/voxmesh.tts.": "tts"}
_SCHEMES = {"bearer", "token"}
_GRPC_CODES = {  # by the names in common.errors
    "INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "INTERNAL": 13,
    "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}  # fmt: skip


class Authorization(AuthorizationBase):
    """Answers envoy.service.auth.v3. Calls count against the requests per minute and the audio of the day; how many
    run at once is not known here, for nobody tells when a call ends."""

    def __init__(self, gate: Gate, leases: LeaseTable, ledger: LedgerWriter) -> None:
        self._gate = gate
        self._leases = leases
        self._ledger = ledger

    async def check(self, message: CheckRequest) -> CheckResponse:
        request = message.attributes and message.attributes.request and message.attributes.request.http
        if not request:  # absent or empty
            return _denied(Unauthenticated("There is no request to judge."))
        if request.path.startswith(_OPEN_PATHS):
            return _passed(None)
        try:
            document = self._gate.admit(_key_of(request))
            _require_path(document, request.path)
            await require_quota(document, self._ledger)
            self._leases.count_start(document)
        except VoxmeshError as error:
            metrics.license_refusals.add(1, {"reason": error.code})
            return _denied(error)
        return _passed(document.key_id)


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


def _passed(key_id: str | None) -> CheckResponse:
    # The workers have no use for the key, so it ends here.
    identity = [_header(KEY_ID_HEADER, key_id)] if key_id else []
    answer = OkHttpResponse(headers=identity, headers_to_remove=list(KEY_HEADERS))
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
