"""Python programs in processes of their own that need not import all again.

They are forked from a server that has imported the heavy packages once; a
fresh interpreter needs several seconds of CPU for that. What looks at the
imports themselves, or at what is read while importing (`HF_ENDPOINT`), needs
a fresh interpreter: use `subprocess`.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOADED = [
    "speechbrain",
    "speechbrain.inference.interfaces",
    "speechbrain_llase.inference.enhancement",
    "speechbrain_llase.lobes.refiner",
    "speechbrain_llase.lobes.spectral_frontend",
    "speechbrain_llase.lobes.xcodec2_vocoder",
    "speechbrain_llase.training.brain",
    "speechbrain_llase.bulk.worker",
    "speechbrain_llase.cli.parser",
    "torch._dynamo",  # an optimiser imports it
    "tqdm.contrib.logging",
    "forked",
]


class Program:
    """A running program: `args` are what would follow `python`."""

    def __init__(self, args, cwd=None, env=None):
        self.args = [str(arg) for arg in args]
        self.folder = tempfile.TemporaryDirectory(prefix="forked")
        self.streams = [Path(self.folder.name, name) for name in ("out", "err")]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        env = (
            dict(os.environ) | {"OMP_NUM_THREADS": "1"} if env is None else env
        )
        given = self.args, str(cwd or os.getcwd()), dict(env), self.streams
        self.process = context.Process(target=be, args=given)
        self.process.start()

    def poll(self) -> int | None:
        """The exit code, as `subprocess` has it; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout_s: float = 300) -> int:
        """Wait for the end; give the exit code."""
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout_s)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()

    def read(self) -> list[str]:
        """What it has printed and what it has complained about so far."""
        return [
            path.read_text(errors="replace") if path.exists() else ""
            for path in self.streams
        ]


def run(args, cwd=None, env=None, check=False) -> subprocess.CompletedProcess:
    """Run a program to its end, as `subprocess.run` with captured text."""
    program = Program(args, cwd, env)
    done = subprocess.CompletedProcess(
        program.args, program.wait(), *program.read()
    )
    if check and done.returncode:
        raise AssertionError(f"{done.args} ended with {done}\n{done.stderr}")
    return done


def be(args: list[str], cwd: str, env: dict, streams: list[Path]) -> None:
    """Become the program."""
    import torch
    from speechbrain.utils import logger

    logger.get_environment_description = lambda: ""  # pip takes a second
    for number, path in enumerate(streams, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
    # a process in the background may be born deaf to Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", 1)))
    os.chdir(cwd)
    first, *rest = args
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = args
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")
