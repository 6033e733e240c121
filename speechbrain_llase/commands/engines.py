"""`enhance` beyond local files: URLs, shards, tables and the Ray engine.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from speechbrain_llase.commands.common import (
    check_writable,
    load_enhancer,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.commands.tally import Tally
from speechbrain_llase.files import Plan, plan_run

SYNC_S = 1.0  # between two waits for lines to be on the disk


def takes_over(args: argparse.Namespace) -> bool:
    """Tell whether a command is about more than local files."""
    from speechbrain_llase.runs.units import is_elsewhere

    return args.engine == "ray" or is_elsewhere(
        args.inputs, args.output, args.column
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance` over units; return the exit code."""
    from speechbrain_llase.runs.ledger import Ledger
    from speechbrain_llase.runs.unit_run import (
        Mirror,
        manifest_name,
        manifest_path,
    )

    if args.details:
        return refuse("--details is for local files and the local engine.")
    name = manifest_name(args.shard)
    path = Path(args.manifest or manifest_path(args.output, name))
    try:
        units = plan(args)
        path.parent.mkdir(parents=True, exist_ok=True)
        mirror = Mirror(path, args.output, name, say)
        ledger = Ledger(path)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    try:
        mirror.fetch()
        with ExitStack() as stack:
            return run_with(args, units, ledger, mirror, stack)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    finally:
        ledger.close()


def plan(args: argparse.Namespace) -> list[Any]:
    """Find what there is to do."""
    from speechbrain_llase.runs.places import local_path
    from speechbrain_llase.runs.unit_plan import plan_units
    from speechbrain_llase.runs.units import is_elsewhere, take_over

    folder = local_path(args.output)
    if is_elsewhere(args.inputs, args.output, args.column):
        found = Plan([], [])
        units = plan_units(
            args.inputs, args.output, args.column, found.left_out
        )
    else:
        found = plan_run(args.inputs, folder, args.column)
        units = take_over(found)
    if found.remark:
        say(f"warning: {found.remark}")
    if folder:
        check_writable(folder)
    if args.shard is None:
        return units
    part, count = args.shard
    return sorted(units, key=lambda unit: unit.name)[part - 1 :: count]


def run_with(
    args: argparse.Namespace,
    units: list[Any],
    ledger: Any,
    mirror: Any,
    stack: ExitStack,
) -> int:
    """Start the engine and go on with the run; return the exit code."""
    from speechbrain_llase.runs.progress import Progress
    from speechbrain_llase.runs.stopper import Stopper
    from speechbrain_llase.runs.unit_run import ResultFolder, find_rest

    try:
        engine = Engine(args, stack)
    except ValueError as err:
        return refuse(one_line(err))
    except (OSError, RuntimeError, KeyError) as err:
        return refuse(f"{args.source} cannot be loaded: {one_line(err)}")
    if args.compute == "auto":
        say(f"weights are held in {engine.run.settings['compute']}")
    folder = ResultFolder(args.output, str(ledger.path.resolve()))
    ledger.begin(engine.run, args.overwrite, args.keep_others)
    rest = find_rest(units, ledger, folder, args.keep_others)
    mirror.copy()  # a place that cannot be written is known now
    stopper = stack.enter_context(Stopper())
    progress = stack.enter_context(Progress(rest))
    tally = Tally(len(units) - len(rest), str(ledger.path))
    work = engine.start(folder.mark, stopper.is_asked)
    try:
        follow(work.enhance(rest), ledger, mirror, tally, progress)
    except Exception as err:
        from speechbrain_llase.runs.open_file import CannotGoOn

        if not isinstance(err, CannotGoOn):
            raise
        say(f"error: {one_line(err)}")
        return 3
    finally:  # an interrupted run, too, says what it has done
        mirror.copy_now_and_then(is_last=True)
        tally.work_s = progress.elapsed_s
        progress.close()
        tally.report()
    if progress.done < len(rest):
        if stopper.signal == signal.SIGINT:
            raise KeyboardInterrupt
        say("terminated; the finished files are complete")
        return 128 + stopper.signal
    ledger.sync()
    ledger.finish()
    mirror.copy_now_and_then(is_last=True)
    return 1 if tally.failed else 0


def follow(
    outcomes: Iterator[tuple[Any, list[Any]]],
    ledger: Any,
    mirror: Any,
    tally: Tally,
    progress: Any,
) -> None:
    """Write the lines of each unit as it ends, and tell of it."""
    from speechbrain_llase.runs.open_file import CannotGoOn
    from speechbrain_llase.runs.places import local_path

    synced = time.monotonic()
    for unit, records in outcomes:
        whole = records[-1]
        target = local_path(unit.target)
        if target and not whole.error and not target.exists():
            raise CannotGoOn(
                f"{target} was written by a worker and is not here: --output "
                "must be a folder that all machines share, or a URL"
            )
        try:
            ledger.append(*records)
            if time.monotonic() - synced > SYNC_S:
                ledger.sync()
                synced = time.monotonic()
        except OSError as err:
            raise CannotGoOn(
                f"{ledger.path} cannot be written any more ({err.strerror})"
            ) from err
        for record in records:
            tally.note(SimpleNamespace(source=record.input), record)
        progress.end(unit, whole.seconds, bool(whole.error))
        for warning in whole.warnings:
            progress.write(f"warning: {unit.input}: {warning}")
        mirror.copy_now_and_then()


class Engine:
    """A model that is ready: here, or on a cluster.

    Arguments
    ---------
    args : argparse.Namespace
        The command's.
    stack : ExitStack
        Leaves the cluster at its end.

    Raises
    ------
    ValueError, OSError, RuntimeError, KeyError
        The model cannot be loaded, or the cluster not be reached.
    """

    def __init__(self, args: argparse.Namespace, stack: ExitStack):
        from speechbrain_llase.runs.description import describe_run
        from speechbrain_llase.runs.items import InsideOptions

        self.args = args
        self.options = InsideOptions(args.column, args.audio_format)
        self.is_ray = args.engine == "ray"
        if self.is_ray:
            self.join_cluster(stack)
            return
        self.enhancer = load_enhancer(args)
        self.run = describe_run(self.enhancer, args.source, args.precision)

    def join_cluster(self, stack: ExitStack) -> None:
        """Connect to the cluster and load the model there once."""
        from speechbrain_llase.runs import ray_engine
        from speechbrain_llase.runs.ray_worker import MODEL_OPTIONS

        args = self.args
        self.model = {name: getattr(args, name) for name in MODEL_OPTIONS}
        if os.path.isdir(args.source):
            self.model["source"] = os.path.abspath(args.source)
        self.model["threads"] = args.threads or 1
        self.cluster = ray_engine.Cluster(
            args.ray_address,
            args.actors,
            self.model["threads"],
            args.gpus_per_actor,
            args.files_per_task,
        )
        self.ray = stack.enter_context(ray_engine.connected(self.cluster))
        self.run = ray_engine.describe_there(
            self.ray, self.cluster, self.model, say
        )

    def start(self, mark: str, stop: Any) -> Any:
        """Give what has `enhance(units)`."""
        from speechbrain_llase.runs.ray_engine import RayRun
        from speechbrain_llase.runs.unit_work import UnitWork

        if self.is_ray:
            return RayRun(
                self.ray,
                self.cluster,
                self.model,
                self.run,
                self.options,
                mark,
                stop,
            )
        return UnitWork(self.enhancer, self.run, self.options, stop, mark)
