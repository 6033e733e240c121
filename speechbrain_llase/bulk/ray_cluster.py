"""A Ray cluster: how it is joined, and what runs on its machines."""

import dataclasses
import json
import logging
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.run_settings import Description, differences
from speechbrain_llase.bulk.units import Unit

if TYPE_CHECKING:
    from speechbrain_llase.bulk.output_folder import OutputFolder

ATTEMPTS = 3  # at a group, before its units are tried alone
WAIT_S = 30.0  # for a machine that fits, before this is said
ALONE = "local"  # Ray's word for a cluster of its own on this machine


@dataclasses.dataclass(frozen=True)
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
    except Exception as err:  # the very class, where a node starts too slowly
        reason = " ".join(str(err).split())
        raise ValueError(f"no Ray cluster at {address}: {reason}") from err
    try:
        yield ray
    finally:
        ray.shutdown()


def describe_there(
    ray: Any,
    cluster: Cluster,
    model: dict[str, Any],
    options: InsideOptions,
    say: Callable,
) -> Description:
    """Load the model on some machine of the cluster and describe it.

    Errors of loading are those of `load_enhancer`.
    """
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus)(
        describe_model
    )
    found = task.remote(model, options)
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


def describe_model(
    model: dict[str, Any], options: InsideOptions
) -> Description:
    """Describe the model, on a machine that can hold it."""
    from speechbrain_llase.bulk.worker import Worker

    return Worker.load(model, options).run


def find_folder(top: str, owner: str) -> "OutputFolder":
    """Look at the output folder, which is there already; none is made."""
    from speechbrain_llase.bulk.output_folder import OutputFolder

    try:
        return OutputFolder(top, owner)
    except OSError as err:
        raise ValueError(
            f"{top} is not on {platform.node()}: --output must be a folder "
            "that all machines share, or a URL"
        ) from err


class Attempts:
    """Counts how often a group was begun, over all workers.

    Ray gives the work of a worker that died to the next one without end; a
    file that kills its worker would stop the run.
    """

    def __init__(self):
        self.begun = Counter()

    def begin(self, group: int) -> int:
        """Count one more attempt; return their number."""
        self.begun[group] += 1
        return self.begun[group]


class RayWorker:
    """One model in one actor, loaded by `load_enhancer` with `model`.

    `top` and `owner` are those of the `OutputFolder`, which machines share,
    `attempts` is the actor of `Attempts`. ValueError: the model is not the one
    of `run` here, or computes otherwise; or the output folder is not here.
    """

    def __init__(
        self,
        model: dict[str, Any],
        run: Description,
        options: InsideOptions,
        top: str,
        owner: str,
        attempts: Any,
    ):
        from speechbrain_llase.bulk.worker import Worker

        self.worker = Worker.load(model, options)
        if self.worker.run != run:
            found = differences(run.as_dict(), self.worker.run.as_dict())
            raise ValueError(
                f"a machine differs from the first: {', '.join(found)}"
            )
        self.folder = find_folder(top, owner)
        self.attempts = attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Enhance a group of units.

        The batch has one row: "group", its number, and "units", as a JSON
        list. The result has the "name" of each unit and its "records", as a
        JSON list; an empty name says why nothing can go on, and there are none
        if too many workers have died of the group.
        """
        import ray

        from speechbrain_llase.bulk.open_file import CannotGoOn

        names, lines = [], []
        number = int(batch["group"][0])
        if ray.get(self.attempts.begin.remote(number)) > ATTEMPTS:
            return {"name": names, "records": lines}
        units = [Unit(**fields) for fields in json.loads(batch["units"][0])]
        try:
            for unit, records in self.worker.enhance(units, self.folder):
                names.append(unit.name)
                lines.append(
                    json.dumps([dataclasses.asdict(r) for r in records])
                )
        except Exception as err:  # Ray Data would leave the group out
            known = isinstance(err, CannotGoOn)
            names.append("")
            lines.append(json.dumps([str(err) if known else repr(err)]))
        return {"name": names, "records": lines}
