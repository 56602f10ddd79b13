"""What every category of tests shares. The directory of a test is its category."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import hypothesis
import pytest
from betterproto2.grpclib.grpclib_server import ServiceBase

from common import logs
from common.clients import open_channel
from common.server import RpcServer

# A run finds what the last one found; hunting for new cases is `pytest --hypothesis-profile=hunt`.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("hunt", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("same")

REPOSITORY = Path(__file__).resolve().parent.parent
EVALDATA = REPOSITORY.parent / "shared" / "evaldata" / "dev"
CATEGORIES = ("unit", "rpc", "clients", "e2e", "bench")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", choices=["cpu", "cuda"], help="what the models' tests compute on"
    )


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--device")
    if name != "cpu":  # most runs need no torch to be told so
        from tests import device

        device.choose(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        category = item.path.relative_to(REPOSITORY / "tests").parts[0]
        assert category in CATEGORIES, f"{item.path} lies in no category"
        item.add_marker(category)


@pytest.fixture(scope="session")
def evaldata() -> Path:
    """The evaluation recordings (manifest.jsonl, audio/); they travel beside the repository, not in it."""
    if not EVALDATA.is_dir():
        pytest.skip("the evaluation recordings are not beside this checkout")
    return EVALDATA


@pytest.fixture(autouse=True)
def _logs() -> None:
    """Logs as a service writes them, so that what tests see is what an operator would."""
    logs.configure("test", fmt="json")


ServeRpc = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture
async def serve_rpc() -> AsyncIterator[ServeRpc]:
    """Starts a real server with the given servicers on a free port; returns a channel to it."""
    async with AsyncExitStack() as stack:

        async def start(*servicers: ServiceBase) -> grpc.aio.Channel:
            rpc = RpcServer(*servicers)
            port = rpc.server.add_insecure_port("127.0.0.1:0")
            await rpc.server.start()
            await rpc.set_serving(True)
            stack.push_async_callback(_stop, rpc)
            channel = open_channel(f"127.0.0.1:{port}")
            stack.push_async_callback(channel.close, None)
            return channel

        yield start


async def _stop(rpc: RpcServer) -> None:
    await rpc.server.stop(None)
