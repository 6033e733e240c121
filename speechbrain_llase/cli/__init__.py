"""The command line: `parser` and a file for each sub-command.

May import all other packages.
"""

from speechbrain_llase.cli.parser import build_parser, main

__all__ = ["build_parser", "main"]
