"""The command line: `parser` and a file for each sub-command."""

from speechbrain_llase.cli.parser import main

__all__ = ["main"]
