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
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.bulk.ray_cluster import Cluster, count_actors, last_line
from speechbrain_llase.bulk.ray_worker import Attempts, RayWorker
from speechbrain_llase.bulk.records import Record
from speechbrain_llase.bulk.run_settings import Description
from speechbrain_llase.bulk.unit_resume import ResultFolder
from speechbrain_llase.bulk.units import Unit

LOOK_S = 0.2  # between two looks at whether to stop
DIED = (
    "its worker died every time: out of memory, or a file that crashes the "
    "audio library"
)


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
    folder : ResultFolder
        Where results go.
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
        folder: ResultFolder,
        stop: Callable[[], bool],
    ):
        self.ray = ray
        self.cluster = cluster
        top = os.path.abspath(folder.here.top) if folder.here else None
        self.arguments = (model, run, options, folder.mark, top)
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
