"""Which Ray cluster, and whether it can do the work."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from speechbrain_llase.bulk.ray_worker import describe_model
from speechbrain_llase.bulk.run_settings import Description

WAIT_S = 30.0  # for a machine that fits, before this is said
ALONE = "local"  # Ray's word for a cluster of its own on this machine


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and what of it."""

    address: str | None = None  # None: RAY_ADDRESS, or else this machine
    actors: int | None = None  # None: as many as fit
    cpus: float = 1  # of an actor
    gpus: float = 0.0  # of an actor
    files: int = 16  # that an actor takes at a time; shards go one by one


def import_ray() -> Any:
    """Import Ray quietly, or say what is missing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as err:
        raise ValueError(
            "--engine ray needs a package that is missing here; pip install "
            '"speechbrain_llase[ray]"'
        ) from err
    return ray


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine, for a block.

    A cluster that happens to run here is not joined: without an address Ray
    would find it in its temporary folder.
    """
    ray = import_ray()
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield ray
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or ALONE
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == ALONE else None,
            logging_level="ERROR",
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as err:
        reason = " ".join(str(err).split())
        raise ValueError(f"no Ray cluster at {address}: {reason}") from err
    try:
        yield ray
    finally:
        ray.shutdown()


def describe_there(
    ray: Any, cluster: Cluster, model: dict[str, Any], say: Callable
) -> Description:
    """Load the model on some machine of the cluster and describe it.

    Errors of loading are those of `load_enhancer`.
    """
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus)(
        describe_model
    )
    found = task.remote(model)
    while not ray.wait([found], timeout=WAIT_S)[0]:
        say(
            f"waiting for a machine with {cluster.cpus:g} free CPUs and "
            f"{cluster.gpus:g} free GPUs, or for the model to load there"
        )
    try:
        return ray.get(found)
    except ray.exceptions.RayTaskError as err:
        if isinstance(err.cause, ValueError | OSError | KeyError):
            raise err.cause from err
        raise RuntimeError(str(err.cause)) from err
    except ray.exceptions.RayError as err:
        raise RuntimeError(f"Ray: {last_line(err)}") from err


def count_actors(ray: Any, cluster: Cluster) -> int:
    """Choose how many actors to start."""
    if cluster.actors:
        return cluster.actors
    there = ray.cluster_resources()
    fits = there.get("CPU", 1) // cluster.cpus
    if cluster.gpus:
        fits = min(fits, there.get("GPU", 0) // cluster.gpus)
    return max(1, int(fits))


def last_line(err: Exception) -> str:
    """Find what went wrong below Ray's long reports."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if lines else type(err).__name__
