"""Workers that Ray places: one actor each, which dials the head. Ray starts and watches them, and carries nothing else.

No actor holds anything that matters, none is restarted or retried by Ray, none is detached: a run that ends, however it
ends, leaves nothing that goes on spending. The only file that imports ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from engine.config.spread import SpreadConfig
from engine.errors import ConfigError, EngineError
from engine.spread.joining import parted
from engine.spread.local import kept

_REACH_S = 5.0
_QUICK_S = 5.0
_GO_S = 10.0
_PATIENT_S = 86_400
"""Seconds that the driver bears without Ray's control service: by itself Ray ends the process after a minute
(docs.ray.io, GCS fault tolerance in KubeRay)."""

Dial = Callable[[str], tuple[str, str, str, str]]
"""What an actor of that name is given to reach the head: address, public key, a token for once, the name."""
Record = Callable[[str, str, str], None]


def _ray() -> Any:
    """The package, told to phone nobody. Raises ConfigError without it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(_PATIENT_S))
    try:
        import ray
    except ImportError:
        raise ConfigError("spread.on: ray needs the package ray: pip install 'datagen-engine[ray]'") from None
    return ray


class Runner:
    """The actor: one worker, for one head."""

    def work(self, entry: str, dial: tuple[str, str, str, str]) -> str:
        """What has gone wrong; '' where the head told it to go."""
        module, _, function = entry.partition(":")
        try:
            getattr(importlib.import_module(module), function)(*dial)
        except EngineError as error:
            return str(error)
        return ""


async def reachable(address: str) -> None:
    """Raises ConfigError where nothing listens at the cluster's address: Ray itself would try for a minute."""
    host, port = parted(address)
    try:
        async with asyncio.timeout(_REACH_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        said = getattr(error, "strerror", None) or f"no answer within {_REACH_S:.0f} s"
        raise ConfigError(f"spread.address: {address}: no Ray cluster can be reached there: {said}") from None
    writer.close()


@asynccontextmanager
async def connected(spec: SpreadConfig) -> AsyncIterator[str]:
    """Connected to the cluster, or to one of this machine for as long as the block lasts; this machine's IP address.

    Raises ConfigError.
    """
    ray = _ray()
    if spec.address is not None:
        await reachable(spec.address)
        where: dict[str, Any] = {"address": spec.address}
    else:
        most = max(1, round(spec.cpus * spec.workers))
        where = {"address": "local", "num_cpus": most, "_node_ip_address": "127.0.0.1"}
        where |= {"num_gpus": round(spec.gpus * spec.workers)} if spec.gpus else {}
        where |= {"include_dashboard": False, "object_store_memory": 80 << 20}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        # In a thread, Ray leaves the handling of signals alone.
        await asyncio.to_thread(
            ray.init, **where, log_to_driver=False, configure_logging=False, namespace="datagen"
        )
    except Exception as error:  # Ray's errors are of many kinds; versions that differ are one
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"spread.on: ray: {type(error).__name__}: {said}") from None
    try:
        yield "127.0.0.1" if spec.address is None else _own_address(spec.address)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GO_S):
                await asyncio.to_thread(ray.shutdown)


def _own_address(cluster: str) -> str:
    """This machine's IP address, as the cluster's machines see it."""
    host, port = parted(cluster)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:  # nothing is sent
        way.connect((host, port))
        return str(way.getsockname()[0])


class OnRay:
    """Keeps so many actors at work. Holds nothing itself."""

    def __init__(self, spec: SpreadConfig, entry: str, dial: Dial, *, record: Record) -> None:
        """`entry`: MODULE:FUNCTION, which an actor calls with what `dial` gives."""
        self._spec = spec
        self._entry = entry
        self._dial = dial
        self._record = record

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block lasts, an actor that ends is replaced. At the end none is left."""
        async with kept(self._spec.workers, self._keep):
            yield

    async def _keep(self, place: int) -> None:
        ray, loop, quick = _ray(), asyncio.get_running_loop(), 0
        made = ray.remote(Runner).options(
            num_cpus=self._spec.cpus, num_gpus=self._spec.gpus, max_restarts=0, max_task_retries=0
        )
        while True:
            began, name = loop.time(), f"ray worker {place}"
            actor = made.remote()
            try:
                why = await asyncio.wrap_future(actor.work.remote(self._entry, self._dial(name)).future())
            except ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:200]
            finally:
                with contextlib.suppress(Exception):  # it is gone, or Ray is
                    ray.kill(actor, no_restart=True)
            quick = quick + 1 if why and loop.time() - began < _QUICK_S else 0
            if quick:
                self._record(name, "worker", f"{name} has ended at once: {why}")
            await asyncio.sleep(min(0.1 * 2**quick, 30.0))
