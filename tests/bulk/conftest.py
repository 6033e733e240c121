"""A Ray cluster of two nodes on this machine."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

STORE = 80 << 20  # bytes of shared memory that a node takes
SMALL = {"include_dashboard": False, "object_store_memory": STORE}


class TwoNodes:
    """Two nodes of one CPU, and means to harm them."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self.nodes = []
        self.add()

    def add(self) -> None:
        """Add a node of one CPU."""
        self.nodes.append(self.cluster.add_node(num_cpus=1, **SMALL))

    def workers(self) -> list[int]:
        """Process ids of the actors that hold a model, on these nodes."""
        raylets = {
            info.process.pid
            for node in self.cluster.list_all_nodes()
            for info in node.all_processes["raylet"]
        }
        return [
            pid
            for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
            if "MapWorker" in read(f"/proc/{pid}/cmdline")
            and parent(pid) in raylets
        ]

    def kill_worker(self) -> None:
        """End one actor's process as the system would for want of memory."""
        os.kill(self.workers()[0], signal.SIGKILL)

    def lose_node(self) -> None:
        """Take the node away that is not the head."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


def read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def parent(pid: int) -> int:
    """Process id of the parent."""
    after_name = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(after_name[1]) if after_name else -1


@pytest.fixture(scope="module")
def bucket() -> Iterator[str | None]:
    """URL of an S3 bucket, where there can be a server."""
    if not (find_spec("s3fs") and find_spec("moto")):
        yield None
        return
    from s3_server import serve

    with serve() as url:
        yield url


@pytest.fixture(scope="module")
def two_nodes(bucket) -> Iterator[TwoNodes]:
    """A cluster that this process is connected to; it sees the bucket."""
    pytest.importorskip("ray.data")
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds the workers in /proc")
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = TwoNodes()
        ray.init(
            address=nodes.cluster.address,
            log_to_driver=False,
            logging_level="ERROR",
        )
        nodes.add()  # now, so that this process belongs to the head
        nodes.cluster.wait_for_nodes()
        yield nodes
        ray.shutdown()
        nodes.cluster.shutdown()
