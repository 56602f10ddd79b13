"""Other checkpoints in a running worker: new streams get them, those that are open end on what they began with."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from asr.checkpoints import Checkpoint, Checkpoints
from asr.loading import make_checkpoints
from asr.model import Recogniser
from asr.settings import AsrSettings
from common.errors import VoxmeshError
from common.logs import announce, get_logger

log = get_logger()

DRAIN_POLL_S = 0.5

# From an entry of MODEL_URL to a recogniser that is warm.
Load = Callable[[str], Awaitable[Recogniser]]


class Swap:
    """Loads the checkpoints of the settings, and again when SIGHUP comes.

    The old and the new ones are in memory together until the last request on an old one has ended.
    """

    def __init__(self, settings: AsrSettings, checkpoints: Checkpoints, load: Load) -> None:
        self._settings, self._checkpoints, self._load = settings, checkpoints, load
        self._retired: list[Checkpoint] = []
        self._wanted = asyncio.Event()

    async def load(self) -> None:
        """Serves from freshly loaded checkpoints.

        Raises:
            VoxmeshError, ValueError, OSError, RuntimeError: they cannot be had; those there are go on serving.
        """
        loaded: list[Recogniser] = []
        try:
            for spec in self._settings.current_checkpoints():
                loaded.append(await self._load(spec))
        except BaseException:
            for recogniser in loaded:
                await asyncio.to_thread(recogniser.close)
            raise
        self._retired += self._checkpoints.replace(make_checkpoints(loaded, self._settings))

    def follow_signals(self) -> None:
        """From now on SIGHUP asks for a swap."""
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._wanted.set)

    async def run(self) -> None:
        """Swaps whenever it is asked to, and lets go of what nobody uses any more."""
        while True:
            if not self._retired:
                await self._wanted.wait()
            if self._wanted.is_set():
                self._wanted.clear()
                await self._swap()
            for entry in [entry for entry in self._retired if not entry.taken]:
                self._retired.remove(entry)
                await asyncio.to_thread(entry.recogniser.close)
                log.info("checkpoint_retired", model=entry.recogniser.name)
            if self._retired:
                await asyncio.sleep(DRAIN_POLL_S)

    async def close(self) -> None:
        """Stops every recogniser, retired ones too."""
        for entry in (*self._retired, *self._checkpoints):
            await asyncio.to_thread(entry.recogniser.close)

    async def _swap(self) -> None:
        try:
            await self.load()
        except (VoxmeshError, ValueError, OSError, RuntimeError) as error:
            # Nothing of a caller's is in these messages: they are about the operator's MODEL_URL.
            log.error("checkpoint_swap_failed", reason=str(error))
        else:
            announce(f"✓ Now serving {', '.join(entry.recogniser.name for entry in self._checkpoints)}")
