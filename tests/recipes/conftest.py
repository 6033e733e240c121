"""A recipe's script, run in this process."""

import logging
import runpy
import sys
from pathlib import Path

import pytest
import torch
from speechbrain.utils import logger  # its description asks pip: a second


@pytest.fixture
def run_script(monkeypatch):
    """A function that runs a script with arguments, on one thread."""
    threads, hook = torch.get_num_threads(), sys.excepthook
    handlers = logging.getLogger().handlers[:]
    torch.set_num_threads(1)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(logger, "get_environment_description", lambda: "")

    def run_script(script: Path, *argv: str) -> dict:
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, argv)])
        sys.path.insert(0, str(script.parent))
        names = runpy.run_path(str(script), run_name="__main__")
        sys.path.remove(str(script.parent))
        return names

    yield run_script
    torch.set_num_threads(threads)
    sys.excepthook = hook
    logging.getLogger().handlers[:] = handlers
