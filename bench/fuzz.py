"""`voxmesh bench fuzz`: requests and sockets made from the edge's own descriptions, right and wrong.

The real edge runs in this process with stand-ins behind it. No answer may be a 5xx or differ from its description, no
closing code may be one that is not described, and no task, session or stream may be left behind.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import structlog

if TYPE_CHECKING:
    from bench.fuzz_rest import RestReport
    from bench.fuzz_sockets import SocketReport
    from tests.fakes.edge_app import Edge

KEY = "good"
_EXAMPLES = 40  # of one operation in one round


def run(argv: Sequence[str]) -> int:
    """Runs the fuzzers with command line `argv`; returns the exit status."""
    args = _arguments().parse_args(argv)
    return asyncio.run(_all(args))


def _arguments() -> argparse.ArgumentParser:
    about = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="voxmesh bench fuzz", description=about)
    parser.add_argument("--cases", type=int, default=5_000, help="requests; 0 leaves them out")
    parser.add_argument("--sockets", type=int, default=5_000, help="sockets; 0 leaves them out")
    parser.add_argument("--seed", type=int, default=1)
    return parser


async def _all(args: argparse.Namespace) -> int:
    result: dict[str, Any] = {"seed": args.seed}
    clean = True
    if args.cases:
        began = time.monotonic()
        async with fuzzed_edge() as (edge, crashes):
            rest = await asyncio.to_thread(many_requests, edge, args.cases, args.seed)
            await _all_closed(edge)
        _tell("requests", rest.failures, crashes)
        clean &= rest.clean and not crashes
        result |= {
            "cases": rest.cases,
            "operations": len(rest.operations),
            "server_errors": rest.server_errors,
            "schema_violations": rest.violations,
            "statuses": {str(status): count for status, count in sorted(rest.statuses.items())},
            "crashes_in_requests": len(crashes),
            "requests_s": round(time.monotonic() - began, 1),
        }
    if args.sockets:
        began = time.monotonic()
        async with fuzzed_edge() as (edge, crashes):
            sockets = await many_sockets(edge, args.sockets, args.seed)
        _tell("sockets", {**sockets.failures, **dict.fromkeys(sockets.leaks, "left behind")}, crashes)
        clean &= sockets.clean and not crashes
        result |= {
            "sockets": sockets.sockets,
            "upgrades": {str(status): count for status, count in sorted(sockets.upgrades.items())},
            "closes": {str(code): count for code, count in sorted(sockets.closes.items())},
            "messages": sockets.messages,
            "upgrade_server_errors": sockets.server_errors,
            "leaks": len(sockets.leaks),
            "socket_failures": len(sockets.failures),
            "crashes_in_sockets": len(crashes),
            "sockets_s": round(time.monotonic() - began, 1),
        }
    print(json.dumps({**result, "clean": clean}))
    return 0 if clean else 1


def _tell(what: str, failures: dict[str, str], crashes: list[str]) -> None:
    for kind, told in failures.items():
        print(f"{what}: {kind}\n  {told}", file=sys.stderr)
    for crash in crashes[:20]:
        print(f"{what}: crash: {crash}", file=sys.stderr)


@asynccontextmanager
async def fuzzed_edge() -> "AsyncIterator[tuple[Edge, list[str]]]":
    """The edge with stand-ins, which reaches nothing outside, and the errors that it logs."""
    from tests.fakes.edge_app import run_edge

    with ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voxmesh-fuzz-")))
        crashes = stack.enter_context(_errors())
        stack.enter_context(_alone())
        async with run_edge(state_dir=state, max_frame_kb=512, body_timeout_s=10) as edge:
            yield edge, crashes


def many_requests(edge: "Edge", cases: int, seed: int) -> "RestReport":
    """Rounds over all operations until so many requests were made; to be called from another thread."""
    from bench.fuzz_rest import fuzz_rest

    whole = None
    while whole is None or (whole.clean and whole.cases < cases):
        examples = max(1, min(_EXAMPLES, cases // 100))
        part = fuzz_rest(edge.url, key=KEY, examples=examples, seed=seed)
        whole = part if whole is None else whole.plus(part)
        seed += 1
    return whole


async def many_sockets(edge: "Edge", sockets: int, seed: int) -> "SocketReport":
    """So many sockets over all paths."""
    from bench.fuzz_sockets import fuzz_sockets

    return await fuzz_sockets(edge, sockets, key=KEY, seed=seed)


async def _all_closed(edge: "Edge") -> None:
    """Every request that was let in has left."""
    async with asyncio.timeout(30):
        await edge.until_closed(len(edge.sessions.opened))


@contextmanager
def _errors() -> Iterator[list[str]]:
    """Collects what is logged as an error; the rest of the log is noise here."""
    found: list[str] = []

    def spy(_: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if name in ("error", "critical", "exception"):
            shown = {key: value for key, value in event.items() if key != "exc_info"}
            found.append(f"{shown} {event.get('exc_info')!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[spy])
    try:
        yield found
    finally:
        structlog.configure(**before)


@contextmanager
def _alone() -> Iterator[None]:
    """No name resolves and no address is public: made-up urls reach nobody."""

    async def nowhere(*_: object, **__: object) -> list[object]:
        raise OSError("there is no network here")

    with (
        mock.patch("edge.listening.fetch.PublicResolver.resolve", nowhere),
        mock.patch("edge.listening.fetch.is_public", lambda _: False),
    ):
        yield


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
