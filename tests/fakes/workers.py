"""Stand-ins for the services behind a sidecar."""

from collections.abc import AsyncIterator

from common.caller import caller
from common.pb.envoy.service.auth.v3 import (
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
from common.pb.voxmesh.asr.v1 import (
    AsrServiceBase,
    ListModelsRequest,
    ListModelsResponse,
    Model,
    RecognizeRequest,
    RecognizeResponse,
    Result,
    Started,
    Summary,
)

UNAUTHENTICATED = 16


class NamedAsr(AsrServiceBase):
    """Says its name, then counts the bytes of every audio message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen_key_ids: list[str] = []

    async def recognize(self, messages: AsyncIterator[RecognizeRequest]) -> AsyncIterator[RecognizeResponse]:
        self.seen_key_ids.append(caller.get().key_id)
        yield RecognizeResponse(started=Started(model=self.name))
        heard = 0
        async for message in messages:
            if message.audio is not None:
                heard += len(message.audio)
                yield RecognizeResponse(result=Result(text=str(len(message.audio))))
        yield RecognizeResponse(summary=Summary(audio_ms=heard))

    async def list_models(self, message: ListModelsRequest) -> ListModelsResponse:
        return ListModelsResponse(models=[Model(name=self.name)])


class OneKey(AuthorizationBase):
    """Lets one key pass."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def check(self, message: CheckRequest) -> CheckResponse:
        assert message.attributes and message.attributes.request and message.attributes.request.http
        headers = message.attributes.request.http.headers
        if headers.get("authorization") == f"Token {self._key}":
            identity = HeaderValueOption(header=HeaderValue(key="x-voxmesh-key-id", value="k1"))
            return CheckResponse(status=Status(code=0), ok_response=OkHttpResponse(headers=[identity]))
        denied = DeniedHttpResponse(status=HttpStatus(code=401), body="Invalid license key")
        return CheckResponse(status=Status(code=UNAUTHENTICATED), denied_response=denied)
