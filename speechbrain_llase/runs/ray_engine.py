"""The Ray engine: units over the actors of a cluster, with Ray Data.

Ray Data and not actors of our own, for it brings what a long run needs and
what is hard to get right: it feeds an actor only what it can take, starts
actors again that died, on other nodes if need be, and gives their work to
others. Groups of units go in, lines of the manifest come out; audio never
passes through Ray, workers read and write it themselves.

Authors
 * The speechbrain_llase contributors 2026
"""

import dataclasses
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from speechbrain_llase.runs.description import Description
from speechbrain_llase.runs.items import InsideOptions
from speechbrain_llase.runs.open_file import CannotGoOn
from speechbrain_llase.runs.ray_worker import Attempts, RayWorker, describe
from speechbrain_llase.runs.records import Record
from speechbrain_llase.runs.units import Unit

WAIT_S = 30.0  # for a machine that fits, before this is said
LOOK_S = 0.2  # between two looks at whether to stop
DIED = (
    "its worker died every time: out of memory, or a file that crashes the "
    "audio library"
)


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
    """Connect to a cluster, or start one on this machine, for a block."""
    ray = import_ray()
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(
            address=cluster.address,
            include_dashboard=None if cluster.address else False,
            logging_level="ERROR",
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as err:
        reason = " ".join(str(err).split())
        raise ValueError(
            f"no Ray cluster at {cluster.address or 'this machine'}: {reason}"
        ) from err
    try:
        yield ray
    finally:
        ray.shutdown()


def describe_there(
    ray: Any, cluster: Cluster, model: dict[str, Any], say: Callable
) -> Description:
    """Load the model on some machine of the cluster and describe it.

    Raises
    ------
    ValueError, OSError, RuntimeError, KeyError
        The model cannot be loaded there.
    """
    task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus)(describe)
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


class RayRun:
    """Enhance units on a cluster.

    Arguments
    ---------
    ray : module
        Connected.
    cluster : Cluster
        What of it is used.
    model : dict
        See `RayWorker`.
    run : Description
        What `describe_there` gave.
    options : InsideOptions
        What is taken from shards and tables.
    mark : str
        Names the run in temporary files.
    stop : callable
        Asked often; true ends the work.
    """

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        model: dict[str, Any],
        run: Description,
        options: InsideOptions,
        mark: str,
        stop: Callable[[], bool],
    ):
        self.ray = ray
        self.cluster = cluster
        self.arguments = (model, run, options, mark)
        self.run = run
        self.stop = stop
        self.actors = count_actors(ray, cluster)

    def enhance(
        self, units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, list[Record]]]:
        """Enhance units.

        Arguments
        ---------
        units : sequence of Unit
            Of any kinds; names are their own.

        Yields
        ------
        unit : Unit
            As it ends, in no order.
        records : list of Record
            As `UnitWork.enhance` gives them. Where a unit's workers died,
            alone too, it has failed.

        Raises
        ------
        CannotGoOn
            No unit could be written any more, or no worker started.
        """
        left = {unit.name: unit for unit in units}
        for files in (self.cluster.files, 1):
            groups = group(list(left.values()), files)
            if groups and not self.stop():
                for row in self.pump(self.dataset(groups)):
                    records = json.loads(row["records"])
                    if not row["name"]:
                        raise CannotGoOn(records[0])
                    unit = left.pop(row["name"], None)
                    if unit:
                        yield unit, [Record.from_dict(r) for r in records]
        if not self.stop():
            for unit in left.values():
                yield unit, [self.lost(unit)]

    def lost(self, unit: Unit) -> Record:
        """Make the line of a unit that no worker survived."""
        return Record(
            unit.input,
            unit.name,
            "failed",
            model=self.run.model,
            settings=self.run.fingerprint,
            error=DIED,
        )

    def dataset(self, groups: list[list[Unit]]) -> Any:
        """Describe the work to Ray Data, a group a block; nothing begins."""
        data = self.ray.data
        lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        attempts = self.ray.remote(**lasting)(Attempts)
        rows = [
            {
                "group": k,
                "units": json.dumps([dataclasses.asdict(u) for u in some]),
            }
            for k, some in enumerate(groups)
        ]
        dataset = data.from_items(rows, override_num_blocks=len(rows))
        dataset = dataset.map_batches(
            RayWorker,
            fn_constructor_args=(*self.arguments, attempts.remote()),
            batch_size=None,  # a block
            compute=data.ActorPoolStrategy(size=min(self.actors, len(rows))),
            num_cpus=self.cluster.cpus,
            num_gpus=self.cluster.gpus or None,
        )
        dataset.context.enable_progress_bars = False
        dataset.context.max_errored_blocks = -1  # they are tried alone
        return dataset

    def pump(self, dataset: Any) -> Iterator[dict[str, str]]:
        """Yield rows from a thread, so that a signal is heard at once."""
        rows = queue.Queue()
        is_over = threading.Event()

        def take() -> None:
            try:
                for row in dataset.iter_rows():
                    if is_over.is_set():
                        return  # Ray Data stops what nobody iterates over
                    rows.put(row)
                rows.put(None)
            except Exception as err:  # told by the other thread
                rows.put(err)

        threading.Thread(target=take, daemon=True).start()
        try:
            while not self.stop():
                try:
                    row = rows.get(timeout=LOOK_S)
                except queue.Empty:
                    continue
                if row is None:
                    return
                if isinstance(row, Exception):
                    raise CannotGoOn(f"Ray: {last_line(row)}") from row
                yield row
        finally:
            is_over.set()


def group(units: list[Unit], files: int) -> list[list[Unit]]:
    """Put files together; shards and tables stay alone.

    Example
    -------
    >>> units = [Unit(name, "", name) for name in ("a", "b.tar", "c", "d")]
    >>> [[unit.name for unit in some] for some in group(units, 2)]
    [['b.tar'], ['a', 'c'], ['d']]
    """
    alone = [[unit] for unit in units if unit.kind != "file"]
    others = [unit for unit in units if unit.kind == "file"]
    starts = range(0, len(others), files)
    return alone + [others[at : at + files] for at in starts]


def last_line(err: Exception) -> str:
    """Find what went wrong below Ray's long reports."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if lines else type(err).__name__
