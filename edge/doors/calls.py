"""gRPC calls to the edge: who calls, and letting them in."""

import re
import uuid
from contextlib import AbstractAsyncContextManager

from common.caller import caller
from common.errors import Unauthenticated
from common.pb.voxmesh.license.v1 import Kind
from edge.admission import Admission, admit
from edge.keys import find_key
from edge.mesh import Mesh

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def request_id() -> str:
    """The id of the present call as the sidecar or the client gave it, else a new one."""
    asked = caller.get().request_id
    return asked if _ID.fullmatch(asked) else f"req_{uuid.uuid4().hex[:24]}"


def key_of_call(mesh: Mesh) -> str:
    """The key of the present call; raises Unauthenticated."""
    try:
        return find_key({"Authorization": caller.get().authorization}, {})
    except Unauthenticated:
        if mesh.settings.anonymous and mesh.settings.license_key:
            return mesh.settings.license_key
        raise


async def check_call_key(mesh: Mesh) -> None:
    """For lists of models and voices: no key is fine, for clients of Riva ask for them without; a bad one is not.

    Raises:
        Unauthenticated, LicenseExpired: the key is bad.
        Unavailable, DeadlineExceeded: nobody can say.
    """
    try:
        key = key_of_call(mesh)
    except Unauthenticated:
        return
    await mesh.known_keys.check(key)


def admit_call(mesh: Mesh, kind: Kind, dialect: str, request: str) -> AbstractAsyncContextManager[Admission]:
    """Lets the present call in for its length; see `edge.admission.admit`."""
    return admit(
        mesh.session,
        key=key_of_call(mesh),
        kind=kind,
        dialect=dialect,
        request_id=request,
        timeout_s=mesh.settings.admission_timeout_s,
        activity=mesh.activity,
        usage=mesh.usage,
    )
