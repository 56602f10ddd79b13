"""How many workers of each service the sidecar would send work to, as its admin port says."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from common import logs
from edge.state.health import SERVICES, Health

log = logs.get_logger()

INTERVAL_S = 3.0
_TIMEOUT = aiohttp.ClientTimeout(total=2)


async def watch_workers(health: Health, admin: str) -> None:
    """Keeps `health.workers` true until cancelled; empty while the sidecar does not answer."""
    async with aiohttp.ClientSession(f"http://{admin}", timeout=_TIMEOUT) as http:
        while True:
            try:
                async with http.get("/clusters?format=json") as answer:
                    answer.raise_for_status()
                    health.workers = healthy_workers(await answer.json(content_type=None))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                if health.workers:
                    log.info("sidecar_silent", error_type=type(error).__name__)
                health.workers = {}
            await asyncio.sleep(INTERVAL_S)


def healthy_workers(clusters: Mapping[str, Any]) -> dict[str, int]:
    """Workers of the services in Envoy's `/clusters`: a host that no check speaks against is one."""
    return {
        cluster["name"]: sum(_is_healthy(host) for host in cluster.get("host_statuses", ()))
        for cluster in clusters.get("cluster_statuses", ())
        if cluster.get("name") in SERVICES
    }


def _is_healthy(host: Mapping[str, Any]) -> bool:
    # Envoy leaves out what is false, so that a healthy host says nothing but this.
    return set(host.get("health_status", {})) <= {"eds_health_status"}
