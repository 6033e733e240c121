"""`enhance` beyond local files: URLs, shards, tables and the Ray engine.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from speechbrain_llase.bulk.plan import Plan, plan_run
from speechbrain_llase.cli.common import (
    check_writable,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.cli.engine_choice import Engine, load_engine
from speechbrain_llase.cli.run_options import refuse_taken
from speechbrain_llase.cli.summary import Tally

SYNC_S = 1.0  # between two waits for lines to be on the disk


def takes_over(args: argparse.Namespace) -> bool:
    """Tell whether a command is about more than local files."""
    from speechbrain_llase.bulk.units import is_elsewhere

    return args.engine == "ray" or is_elsewhere(
        args.inputs, args.output, args.column
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance` over units; return the exit code."""
    from speechbrain_llase.bulk.manifest_copy import (
        Mirror,
        TiedLedger,
        manifest_name,
        manifest_path,
    )

    if args.details:
        return refuse("--details is for local files and the local engine.")
    name = manifest_name(args.shard)
    path = Path(args.manifest or manifest_path(args.output, name))
    try:
        units = plan(args)
        refuse_taken(path, args.inputs, units)
        path.parent.mkdir(parents=True, exist_ok=True)
        ledger = TiedLedger(path, args.output)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    mirror = Mirror(ledger, args.output, name, say)
    try:
        with ExitStack() as stack:
            return run_with(args, units, ledger, mirror, stack)
    finally:
        ledger.close()


def plan(args: argparse.Namespace) -> list[Any]:
    """Find what there is to do."""
    from speechbrain_llase.bulk.unit_plan import plan_units
    from speechbrain_llase.bulk.units import is_elsewhere, take_over
    from speechbrain_llase.dataio.urls import local_path

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
    from speechbrain_llase.bulk.unit_resume import (
        ResultFolder,
        failed_inside,
        find_rest,
    )

    try:
        mirror.fetch()
        engine = load_engine(args, stack)
        ledger.begin(engine.run, args.overwrite, args.keep_others)
        folder = ResultFolder(args.output, ledger.id)
        rest = find_rest(units, ledger, folder, args.keep_others)
        mirror.copy()  # a place that cannot be written is known now
    except (OSError, ValueError) as err:
        return refuse(str(err))
    tally = Tally(len(units) - len(rest), str(ledger.path))
    for record in failed_inside(units, rest, ledger):  # of runs before
        tally.note(SimpleNamespace(source=record.input), record)
    return go_on(engine, rest, Books(ledger, mirror, folder, tally), stack)


@dataclass
class Books:
    """Where it is kept what a run has done."""

    ledger: Any
    mirror: Any
    folder: Any
    tally: Tally

    def write(self, records: list[Any]) -> None:
        """Add lines, and count them.

        Raises
        ------
        OSError
            The manifest cannot be written any more.
        """
        try:
            self.ledger.append(*records)
        except OSError as err:
            reason = f"{self.ledger.path} cannot be written ({err.strerror})"
            raise OSError(reason) from err
        for record in records:
            self.tally.note(SimpleNamespace(source=record.input), record)


def go_on(
    engine: Engine, rest: list[Any], books: Books, stack: ExitStack
) -> int:
    """Do what is left to do; return the exit code."""
    from speechbrain_llase.bulk.open_file import CannotGoOn
    from speechbrain_llase.bulk.progress import Progress
    from speechbrain_llase.bulk.stop_signals import Stopper

    stopper = stack.enter_context(Stopper())
    progress = stack.enter_context(Progress(rest))
    work = engine.start(books.folder, stopper.is_asked)
    try:
        follow(work.enhance(rest), books, progress)
        books.ledger.sync()
        if progress.done == len(rest):
            books.ledger.finish()
    except (CannotGoOn, OSError, ValueError) as err:
        say(f"error: the run cannot go on: {one_line(err)}")
        return 3
    finally:  # an interrupted run, too, says what it has done
        books.mirror.copy_now_and_then(is_last=True)
        books.tally.work_s = progress.elapsed_s
        progress.close()
        books.tally.report()
    if progress.done < len(rest):
        if stopper.signal == signal.SIGINT:
            raise KeyboardInterrupt
        say("terminated; the finished files are complete")
        return 128 + stopper.signal
    return 1 if books.tally.failed else 0


def follow(
    outcomes: Iterator[tuple[Any, list[Any]]], books: Books, progress: Any
) -> None:
    """Write the lines of each unit as it ends, and tell of it."""
    synced = time.monotonic()
    for unit, records in outcomes:
        refuse_lost(unit, records[-1], books.folder)
        books.write(records)
        if time.monotonic() - synced > SYNC_S:
            books.ledger.sync()
            synced = time.monotonic()
        progress.end(unit, records[-1].seconds, bool(records[-1].error))
        for warning in records[-1].warnings:
            progress.write(f"warning: {unit.input}: {warning}")
        books.mirror.copy_now_and_then()


def refuse_lost(unit: Any, record: Any, folder: Any) -> None:
    """Refuse to go on without the output folder, or if a worker has another.

    Raises
    ------
    CannotGoOn
        The folder, or a result in it, is not there.
    """
    from speechbrain_llase.bulk.open_file import CannotGoOn
    from speechbrain_llase.dataio.urls import local_path

    folder.check()
    target = local_path(unit.target)
    if target and not record.error and not target.exists():
        raise CannotGoOn(
            f"{target} was written by a worker and is not here: --output "
            "must be a folder that all machines share, or a URL"
        )
