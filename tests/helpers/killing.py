"""The command in a process of its own, which can be killed.

The processes are forked from a server that has imported everything once.
"""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

MODULES = [
    "speechbrain_llase.cli",
    "speechbrain_llase.inference.enhancement",
    "speechbrain_llase.bulk.worker",
    "speechbrain_llase.bulk.progress",
    "tqdm.contrib.logging",
    "killing",
]


def run_command(folder, argv):
    """Run the command in a folder, deaf to nobody, in one thread."""
    import torch

    from speechbrain_llase.cli import parser as cli

    # a process in the background may be born deaf to Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    os.chdir(folder)
    with open("log.txt", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.exit(cli.main(argv))


def start(folder, argv):
    """Start the command; the process is returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    process = context.Process(target=run_command, args=(folder, argv))
    process.start()
    return process


def finish(folder, argv):
    """Run the command to its end; return its exit code."""
    process = start(folder, argv)
    process.join(300)
    return process.exitcode


def kill_at(folder, argv, manifest, lines, delay_s):
    """Kill the command once its manifest has so many lines, and a bit later.

    Returns whether it was alive then.
    """
    process = start(folder, argv)
    wait_for(process, manifest, lines)
    time.sleep(delay_s)
    was_alive = process.is_alive()
    process.kill()
    process.join()
    return was_alive


def wait_for(process, manifest, lines):
    """Wait until a manifest has so many lines, or the process has ended."""
    while process.is_alive() and count_lines(manifest) < lines:
        time.sleep(0.0005)


def count_lines(path: Path) -> int:
    """Count the lines of a file; none if it is not there."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
