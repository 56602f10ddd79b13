"""A service with one method of each cardinality, laid out like the generated ones."""

from collections.abc import AsyncIterator
from typing import Any

import grpclib
from betterproto2.grpclib.grpclib_client import ServiceStub
from betterproto2.grpclib.grpclib_server import ServiceBase
from grpclib.const import Cardinality, Handler

from common.errors import AtCapacity
from common.pb.voxmesh.license.v1 import ReleaseRequest as Word
from common.rpc import AioStub


class EchoBase(ServiceBase):
    async def one(self, message: Word) -> Word:
        if message.lease_id == "full":
            raise AtCapacity("all places are taken", retry_after_s=2.5, capacity=3)
        if message.lease_id == "bug":
            raise ZeroDivisionError("secret words of a caller")
        return message

    async def many(self, message: Word) -> AsyncIterator[Word]:
        for letter in message.lease_id:
            yield Word(lease_id=letter)

    async def join(self, messages: AsyncIterator[Word]) -> Word:
        return Word(lease_id="".join([message.lease_id async for message in messages]))

    async def talk(self, messages: AsyncIterator[Word]) -> AsyncIterator[Word]:
        async for message in messages:
            yield Word(lease_id=message.lease_id.upper())

    async def absent(self, message: Word) -> Word:
        raise grpclib.GRPCError(grpclib.const.Status.UNIMPLEMENTED)

    async def __rpc_one(self, _: Any) -> None: ...
    async def __rpc_many(self, _: Any) -> None: ...
    async def __rpc_join(self, _: Any) -> None: ...
    async def __rpc_talk(self, _: Any) -> None: ...
    async def __rpc_absent(self, _: Any) -> None: ...

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/test.Echo/{name}": Handler(call, kind, Word, Word)
            for name, call, kind in (
                ("One", self.__rpc_one, Cardinality.UNARY_UNARY),
                ("Many", self.__rpc_many, Cardinality.UNARY_STREAM),
                ("Join", self.__rpc_join, Cardinality.STREAM_UNARY),
                ("Talk", self.__rpc_talk, Cardinality.STREAM_STREAM),
                ("Absent", self.__rpc_absent, Cardinality.UNARY_UNARY),
            )
        }


class EchoStub(AioStub, ServiceStub):
    async def one(self, word: Word, **kwargs: Any) -> Word:
        return await self._unary_unary("/test.Echo/One", word, Word, **kwargs)  # type: ignore[no-any-return]

    async def absent(self, word: Word) -> Word:
        return await self._unary_unary("/test.Echo/Absent", word, Word)  # type: ignore[no-any-return]

    def many(self, word: Word) -> AsyncIterator[Word]:
        return self._unary_stream("/test.Echo/Many", word, Word)

    async def join(self, words: Any) -> Word:
        return await self._stream_unary("/test.Echo/Join", words, Word, Word)  # type: ignore[no-any-return]

    def talk(self, words: Any) -> AsyncIterator[Word]:
        return self._stream_stream("/test.Echo/Talk", words, Word, Word)
