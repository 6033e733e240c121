"""Ctrl-C again and again, until the process is gone."""

import signal
import subprocess
import sys

from speechbrain_llase.cli import doctor, parser as cli

AGAIN = """
import signal, sys
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.cli import doctor

signal.signal(signal.SIGINT, signal.default_int_handler)
doctor.run = lambda args: signal.raise_signal(signal.SIGINT)
sys.argv[1:] = ["doctor"]
code = cli.main()
signal.raise_signal(signal.SIGINT)  # while the interpreter ends
sys.exit(code)
"""


def test_a_second_ctrl_c_gives_no_traceback():
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True
    )
    said = "speechbrain-llase: interrupted; the finished files are complete\n"
    assert (done.returncode, done.stderr) == (130, said)


def test_a_caller_hears_ctrl_c_afterwards(monkeypatch, capsys):
    def run(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", run)
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(["doctor"]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_while_commands_are_imported(monkeypatch, capsys):
    def build_parser(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", build_parser)
    assert cli.main(["doctor"]) == 130
    assert "interrupted" in capsys.readouterr().err
