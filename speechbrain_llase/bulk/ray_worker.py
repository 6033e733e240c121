"""What runs on a Ray worker: a model, and units for it."""

import dataclasses
import json
import platform
from collections import Counter
from typing import TYPE_CHECKING, Any

from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.plan import Unit
from speechbrain_llase.bulk.run_settings import Description, differences

if TYPE_CHECKING:
    from speechbrain_llase.bulk.output_folder import OutputFolder

ATTEMPTS = 3  # at a group, before its units are tried alone


def describe_model(model: dict[str, Any]) -> Description:
    """Describe the model, on a machine that can hold it."""
    from speechbrain_llase.bulk.worker import Worker

    return Worker.load(model, InsideOptions()).run


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
