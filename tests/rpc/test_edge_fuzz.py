"""Requests and sockets made from the edge's descriptions: a short run of `voxmesh bench fuzz`."""

import asyncio

from bench.fuzz import KEY, fuzzed_edge, many_sockets
from bench.fuzz_rest import fuzz_rest

# One path of each kind: the others share its handler.
REQUESTS = {
    ("POST", "/v1/listen"),
    ("POST", "/v1/speak"),
    ("POST", "/waves/v1/stt/"),
    ("POST", "/waves/v1/tts"),
    ("POST", "/waves/v1/tts/live"),
    ("GET", "/waves/v1/{model}/get_voices"),
    ("POST", "/waves/v1/pronunciation-dicts"),
    ("PUT", "/waves/v1/pronunciation-dicts"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/speech"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/health"),
    ("GET", "/health/{part}"),
    ("GET", "/v1/realtime"),
}
EXAMPLES, SOCKETS = 20, 200


async def test_no_request_is_answered_with_5xx_or_against_the_description() -> None:
    async with fuzzed_edge() as (edge, crashes):
        report = await asyncio.to_thread(
            fuzz_rest,
            edge.url,
            key=KEY,
            examples=EXAMPLES,
            seed=1,
            only=lambda method, path: (method, path) in REQUESTS,
        )
        await edge.until_closed(len(edge.sessions.opened))
    assert (report.server_errors, report.violations, report.failures, crashes) == (0, 0, {}, [])
    assert len(report.operations) == len(REQUESTS)
    assert report.cases >= EXAMPLES * len(REQUESTS) / 2


async def test_no_socket_leaves_anything_behind() -> None:
    async with fuzzed_edge() as (edge, crashes):
        report = await many_sockets(edge, SOCKETS, seed=3)
    assert (report.server_errors, report.leaks, report.failures, crashes) == (0, [], {}, [])
    assert report.sockets == SOCKETS
    assert report.upgrades[101] > SOCKETS / 2
    assert {1000, 1002, 1008} <= set(report.closes)
