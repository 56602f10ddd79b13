"""One recording, recognised as a whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress

from common import logs
from common.clients import AsrClient
from common.codec import decode_file
from common.errors import Cancelled, DeadlineExceeded, MissingParameter, Unavailable, VoxmeshError
from common.pb.voxmesh.asr.v1 import Mode, RecognizeRequest, Result, Summary
from edge.listening.bodies import Recording
from edge.listening.requests import ListenOptions, Transcript

log = logs.get_logger()

MAX_MESSAGE_BYTES = 512 * 1024
ATTEMPTS = 3
PAUSE_S = 0.2


async def transcribe(
    client: AsrClient,
    recording: Recording,
    options: ListenOptions,
    *,
    request_id: str,
    max_ms: int,
    timeout_s: float,
    on_result: Callable[[Result], None] | None = None,
) -> Transcript:
    """Recognises a recording; a worker that dies on the way is replaced by another.

    Args:
        client: the recogniser.
        recording: any format.
        options: what to write.
        request_id: for the answer and the logs.
        max_ms: longest audio.
        timeout_s: for everything.
        on_result: called with every final as it comes.

    Raises:
        MissingParameter: an empty recording.
        UnsupportedFormat, AudioTooLong: the recording.
        Unavailable, AtCapacity, DeadlineExceeded: the recogniser.
    """
    if not recording.n_bytes:
        raise MissingParameter("Missing required parameter: url or audio file")
    run = _Run(client, recording, options, request_id, max_ms, on_result)
    try:
        async with asyncio.timeout(timeout_s):
            for attempt in range(ATTEMPTS):
                try:
                    return await run.attempt()
                except (Unavailable, Cancelled) as error:
                    if attempt + 1 == ATTEMPTS or not run.started:
                        raise Unavailable("No ASR workers available", retry_after_s=30) from error
                    log.info("recognition_retried", request_id=request_id, code=error.code)
                await asyncio.sleep(PAUSE_S * 2**attempt)
    except TimeoutError:
        raise DeadlineExceeded(f"not finished within {timeout_s:g} s") from None
    raise AssertionError("unreachable")


class _Run:
    def __init__(
        self,
        client: AsrClient,
        recording: Recording,
        options: ListenOptions,
        request_id: str,
        max_ms: int,
        on_result: Callable[[Result], None] | None,
    ) -> None:
        self._client, self._recording, self._options = client, recording, options
        self._request_id, self._max_ms, self._on_result = request_id, max_ms, on_result
        self._told_to_ms = -1  # end of the last result that on_result has seen
        self.started = False

    async def attempt(self) -> Transcript:
        """One recogniser stream over the whole recording."""
        file = await asyncio.to_thread(
            decode_file,
            self._recording.source(),
            self._options.format,
            keep_channels=self._options.multichannel,
            max_ms=self._max_ms,
        )
        failure: list[VoxmeshError] = []
        accepted = asyncio.Event()

        async def requests(first: bytes | None) -> AsyncIterator[RecognizeRequest]:
            yield RecognizeRequest(config=self._options.config(Mode.BATCH, channels=file.channels))
            await accepted.wait()  # a refusal can only be read as long as nothing is being sent
            block = first
            while block is not None:
                for at in range(0, len(block), MAX_MESSAGE_BYTES):
                    yield RecognizeRequest(audio=block[at : at + MAX_MESSAGE_BYTES])
                try:
                    block = await asyncio.to_thread(next, file, None)
                except VoxmeshError as error:
                    failure.append(error)
                    raise  # ends the call; the reason is read from `failure`

        results: list[Result] = []
        summary: Summary | None = None
        model = ""
        try:
            # What is no audio at all is refused before a worker hears of it.
            first = await asyncio.to_thread(next, file, None)
            calls = self._client.recognize(requests(first), metadata=(("x-request-id", self._request_id),))
            async with aclosing(calls) as responses:  # type: ignore[type-var]
                async for response in responses:
                    if response.started is not None:
                        self.started, model = True, response.started.model
                        accepted.set()
                    elif response.result is not None and response.result.is_final:
                        results.append(response.result)
                        self._tell(response.result)
                    elif response.summary is not None:
                        summary = response.summary
            if summary is None:
                raise Unavailable("the recogniser ended the stream early")
            return Transcript(
                request_id=self._request_id,
                results=sorted(results, key=lambda one: (one.start_ms, one.channel)),
                summary=summary,
                model=model,
                options=self._options,
                duration_ms=file.decoded_ms,
                n_bytes=self._recording.n_bytes,
                sha256=self._recording.sha256,
            )
        except (VoxmeshError, asyncio.CancelledError):
            if failure:
                raise failure[0] from None
            raise
        finally:
            with suppress(ValueError):  # a worker thread may still be inside the decoder
                file.close()

    def _tell(self, result: Result) -> None:
        if self._on_result is not None and result.start_ms >= self._told_to_ms:
            self._told_to_ms = result.end_ms
            self._on_result(result)
