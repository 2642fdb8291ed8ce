"""Workers that Ray places, on clusters of several nodes on this machine: what dies there costs nothing but time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Configs, Start, datagen, finished, when_served
from test_spread import check_against_one, rows, running, until

pytest.importorskip("ray")
pytestmark = [pytest.mark.timeout(300), pytest.mark.enable_socket]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A control service with a node of its own that has no room for workers, and two nodes with a core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    from ray.cluster_utils import Cluster

    args = {"include_dashboard": False, "object_store_memory": 80 << 20}
    try:
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **args})
    except Exception as error:  # such as a machine without shared memory
        pytest.skip(f"no Ray cluster can be started here: {error}")
    try:
        made.workers = [made.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
        yield made
    finally:
        with contextlib.suppress(Exception):
            made.shutdown()


def raylet_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def on_ray(cluster: Any, **more: Any) -> dict[str, Any]:
    return {"spread": {"on": "ray", "workers": 2, "address": cluster.address, "silence_s": 3, **more}}


@pytest.mark.parametrize("fault", ["raylet killed", "node frozen"])
async def test_a_node_may_go(
    fault: str, cluster: Any, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    sections = {"generate": {"target": 150}, "validators": ["constraints", "reflection"]}
    url, simulator = await endpoint(latency_s=0.1)
    config = configs.write(url, **sections, **on_ray(cluster))
    folder = tmp_path / "run"

    async def act(_: Any) -> None:
        await when_served(simulator, 12).wait()
        await until(lambda: len(rows(folder, "SELECT 1 FROM workers")) == 2)
        node = cluster.workers[0]
        if fault == "raylet killed":
            os.kill(raylet_of(node), signal.SIGKILL)
        else:
            there = children(raylet_of(node))
            for pid in (raylet_of(node), *there):
                os.kill(pid, signal.SIGSTOP)

    status, _, err = await running(config, folder, act)
    assert status == 0, err
    await check_against_one(folder, endpoint, configs, sections)
    if fault == "node frozen":
        assert rows(folder, "SELECT 1 FROM workers WHERE why LIKE 'not heard%'")


def children(pid: int) -> list[int]:
    """All processes below this one."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [deeper for each in found for deeper in children(each)]


async def test_a_wrong_address_is_told_at_once(endpoint: Start, configs: Configs, tmp_path: Path) -> None:
    url, simulator = await endpoint()
    config = configs.write(url, spread={"on": "ray", "workers": 1, "address": "127.0.0.1:9"})
    process = await datagen("run", config, "-o", tmp_path / "run")
    status, _, err = await asyncio.wait_for(finished(process), 60)
    assert status == 2
    assert "127.0.0.1:9: no Ray cluster can be reached there" in err
    assert simulator.statistics.served == 0


async def test_the_dataset_is_the_same_and_no_secret_is_in_rays_hands(
    cluster: Any, endpoint: Start, configs: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a command line nor Ray's logs and state hold the key of the model."""
    key = "sk-very-secret-0123456789abcdef"
    monkeypatch.setenv("MY_KEY", key)
    url, simulator = await endpoint(latency_s=0.1, api_key=key)
    model = {"name": "m", "base_url": url, "api_key": "${MY_KEY}", "price": {"input": 1.0, "output": 2.0}}
    sections = {"generate": {"target": 60}}
    config = configs.write(url, model=model, **sections, **on_ray(cluster))
    seen: list[str] = []

    async def act(_: Any) -> None:
        await when_served(simulator, 8).wait()
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.append(place.read_bytes().decode("utf-8", "replace"))

    status, out, err = await running(config, tmp_path / "run", act)
    assert status == 0, err
    assert not [line for line in (*seen, out, err) if key in line]
    logs = Path(cluster.head_node.get_session_dir_path()) / "logs"
    for file in logs.rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file
    await check_against_one(tmp_path / "run", endpoint, configs, sections)


async def test_the_control_service_may_go(
    cluster: Any, endpoint: Start, configs: Configs, tmp_path: Path
) -> None:
    """Whatever becomes of the workers: the run ends in order, or can be resumed without Ray."""
    sections = {"generate": {"target": 120}}
    url, simulator = await endpoint(latency_s=0.1)
    config = configs.write(url, **sections, **on_ray(cluster), limits={"outage_s": 60, "concurrency": 4})
    folder = tmp_path / "run"

    async def act(_: Any) -> None:
        await when_served(simulator, 10).wait()
        cluster.head_node.kill_gcs_server()

    status, _, err = await running(config, folder, act)
    assert status in (0, 4), err
    if status:
        config = configs.write(url, **sections)
        status, _, err = await finished(await datagen("run", config, "-o", folder))
        assert status == 0, err
    assert simulator.statistics.served == len(rows(folder, "SELECT 1 FROM calls"))
    await check_against_one(folder, endpoint, configs, sections)
