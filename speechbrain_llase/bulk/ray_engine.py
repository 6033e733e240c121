"""The Ray engine: units over the actors of a cluster, with Ray Data.

Ray Data and not actors of our own, for it brings what a long run needs and
what is hard to get right: it feeds an actor only what it can take, starts
actors again that died, on other nodes if need be, and gives their work to
others. Groups of units go in, lines of the manifest come out; audio never
passes through Ray, workers read and write it themselves.
"""

import dataclasses
import json
import os
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from speechbrain_llase.bulk.batcher import Outcome
from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.ray_cluster import (
    Attempts,
    Cluster,
    RayWorker,
    connected,
    count_actors,
    describe_there,
    last_line,
)
from speechbrain_llase.bulk.records import Record, make_record
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.dataio.urls import whole

LOOK_S = 0.2  # between two looks at whether to stop
DIED = (
    "its worker died every time: out of memory, or a file that crashes the "
    "audio library"
)


@contextmanager
def joined(
    cluster: Cluster,
    model: dict[str, Any],
    options: InsideOptions,
    say: Callable[[str], None],
) -> Iterator["RayEngine"]:
    """Connect to a cluster and load the model there; see `RayEngine`."""
    model = {**model, "threads": cluster.cpus}
    if os.path.isdir(model["source"]):
        model["source"] = os.path.abspath(model["source"])
    with connected(cluster) as ray:
        yield RayEngine(ray, cluster, model, options, say)


class RayEngine:
    """Enhance units on a cluster; `say` is told what is waited for.

    Errors of loading the model there are those of `load_enhancer`.
    """

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        model: dict[str, Any],
        options: InsideOptions,
        say: Callable[[str], None],
    ):
        self.ray = ray
        self.cluster = cluster
        self.model = model
        self.options = options
        self.run = describe_there(ray, cluster, model, options, say)

    def enhance(
        self,
        units: Collection[Unit],
        folder: OutputFolder,
        stop: Callable[[], bool],
        *_: Any,
    ) -> Iterator[tuple[Unit, list[Record]]]:
        """Enhance units, as `Worker.enhance` does, and yield them in no order.

        What else that takes is not used: nothing is told from elsewhere. A
        unit whose workers died, of it alone too, has failed; CannotGoOn says,
        too, that no worker started.
        """
        left = {unit.name: unit for unit in units}
        for files in (self.cluster.files, 1):
            groups = group(list(left.values()), files)
            if groups and not stop():
                for row in pump(self.dataset(groups, folder), stop):
                    records = json.loads(row["records"])
                    if not row["name"]:
                        raise CannotGoOn(records[0])
                    unit = left.pop(row["name"], None)
                    if unit:
                        yield unit, [Record.from_dict(r) for r in records]
        if not stop():
            for unit in left.values():
                lost = Outcome(unit, error=DIED)
                yield unit, [make_record(lost, self.run)]

    def dataset(self, groups: list[list[Unit]], folder: OutputFolder) -> Any:
        """Describe the work to Ray Data in blocks of a group; none begins."""
        top = whole(folder.top)
        data = self.ray.data
        lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        attempts = self.ray.remote(**lasting)(Attempts)
        actors = count_actors(self.ray, self.cluster)
        rows = [
            {
                "group": k,
                "units": json.dumps([for_workers(u, top) for u in some]),
            }
            for k, some in enumerate(groups)
        ]
        dataset = data.from_items(rows, override_num_blocks=len(rows))
        dataset = dataset.map_batches(
            RayWorker,
            fn_constructor_args=(
                self.model,
                self.run,
                self.options,
                top,
                folder.owner,
                attempts.remote(),
            ),
            batch_size=None,  # a block
            compute=data.ActorPoolStrategy(size=min(actors, len(rows))),
            num_cpus=self.cluster.cpus,
            num_gpus=self.cluster.gpus or None,
        )
        dataset.context.enable_progress_bars = False
        dataset.context.max_errored_blocks = -1  # they are tried alone
        return dataset


def pump(dataset: Any, stop: Callable[[], bool]) -> Iterator[dict[str, str]]:
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
        while not stop():
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
    >>> units = [Unit(n, "out", n) for n in ("a", "b.tar", "c", "d")]
    >>> [[unit.name for unit in some] for some in group(units, 2)]
    [['b.tar'], ['a', 'c'], ['d']]
    """
    alone = [[unit] for unit in units if unit.kind != "file"]
    others = [unit for unit in units if unit.kind == "file"]
    starts = range(0, len(others), files)
    return alone + [others[at : at + files] for at in starts]


def for_workers(unit: Unit, top: str) -> dict[str, Any]:
    """Write a unit with places that hold in every process."""
    places = {"source": whole(unit.source), "top": top}
    if unit.beside:
        places["beside"] = whole(unit.beside)
    return dataclasses.asdict(dataclasses.replace(unit, **places))
