"""What runs on a Ray worker: a model, and units for it.

Authors
 * The speechbrain_llase contributors 2026
"""

import dataclasses
import json
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.run_settings import Description, describe_run
from speechbrain_llase.bulk.units import Unit

if TYPE_CHECKING:
    from speechbrain_llase.bulk.output_folder import OutputFolder

ATTEMPTS = 3  # at a group, before its units are tried alone
MODEL_OPTIONS = (  # of the command line, that a model is loaded by
    "source",
    "device",
    "precision",
    "compute",
    "batch_size",
    "threads",
    "guard",
)


def load_and_describe(model: dict[str, Any]) -> tuple[Any, Description]:
    """Load the model that options ask for, and describe what it does."""
    from speechbrain_llase.inference.loading import load_enhancer

    enhancer = load_enhancer(**model)
    return enhancer, describe_run(enhancer, model["source"], model["precision"])


def describe(model: dict[str, Any]) -> Description:
    """Describe the model, on a machine that can hold it."""
    return load_and_describe(model)[1]


def find_folder(top: str, mark: str) -> "OutputFolder":
    """Look at the output folder, which is there already; none is made."""
    from speechbrain_llase.bulk.output_folder import OutputFolder

    try:
        return OutputFolder(Path(top), mark)
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
    """One model in one actor.

    Arguments
    ---------
    model : dict
        `MODEL_OPTIONS` and their values.
    run : Description
        What the run depends on.
    options : InsideOptions
        What is taken from shards and tables.
    mark : str
        Names the run in temporary files.
    top : str or None
        Output folder, where it is one that machines share.
    attempts : ray.actor.ActorHandle
        Of `Attempts`.

    Raises
    ------
    ValueError
        The model is another one here, or computes otherwise; or the output
        folder is not here.
    """

    def __init__(
        self,
        model: dict[str, Any],
        run: Description,
        options: InsideOptions,
        mark: str,
        top: str | None,
        attempts: Any,
    ):
        from speechbrain_llase.bulk.unit_worker import UnitWork

        enhancer, here = load_and_describe(model)
        if here != run:
            ours, theirs = here.as_dict(), run.as_dict()
            differences = ", ".join(
                f"{key}: {ours.get(key)!r}, not {theirs.get(key)!r}"
                for key in sorted(ours.keys() | theirs.keys())
                if ours.get(key) != theirs.get(key)
            )
            raise ValueError(f"a machine differs from the first: {differences}")
        folder = find_folder(top, mark) if top else None
        self.work = UnitWork(enhancer, run, options, mark=mark, folder=folder)
        self.attempts = attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Enhance a group of units.

        Arguments
        ---------
        batch : dict
            One row: "group", its number, and "units", as a JSON list.

        Returns
        -------
        result : dict
            "name" of each unit and "records": its lines, as a JSON list. An
            empty name says why nothing can go on. Nothing, if too many
            workers have died of the group.
        """
        import ray

        from speechbrain_llase.bulk.open_file import CannotGoOn

        names, lines = [], []
        number = int(batch["group"][0])
        if ray.get(self.attempts.begin.remote(number)) > ATTEMPTS:
            return {"name": names, "records": lines}
        units = [Unit(**fields) for fields in json.loads(batch["units"][0])]
        try:
            for unit, records in self.work.enhance(units):
                names.append(unit.name)
                lines.append(
                    json.dumps([dataclasses.asdict(r) for r in records])
                )
        except Exception as err:  # Ray Data would leave the group out
            known = isinstance(err, CannotGoOn)
            names.append("")
            lines.append(json.dumps([str(err) if known else repr(err)]))
        return {"name": names, "records": lines}
