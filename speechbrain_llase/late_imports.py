"""Imports that cost less: what is hardly ever used comes late.

SpeechBrain's `__init__` imports its samplers, and their module all of
`scipy.stats` for one function of `DynamicBatchSampler`: a third of what
`import torch` costs, whoever only enhances. `hold_back` lets that one module
have a stand-in for the function, which imports it when it is used. Nobody
else sees it: no entry of `sys.modules` is another than without.
"""

import builtins
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, SimpleNamespace

IMPORTER = "speechbrain.dataio.sampler"
PACKAGE_OF_LATE, LATE_NAME = "scipy.stats", "lognorm"


class LateObject:
    """An object of a module that is imported when the object is used."""

    def __getattr__(self, name: str):
        """Give what the object has."""
        found = getattr(import_module(PACKAGE_OF_LATE), LATE_NAME)
        return getattr(found, name)


def import_late(name, globals=None, locals=None, fromlist=(), level=0):
    """Import as `__import__` does, the late object aside."""
    if name == PACKAGE_OF_LATE and tuple(fromlist) == (LATE_NAME,):
        return SimpleNamespace(**{LATE_NAME: LateObject()})
    return builtins.__import__(name, globals, locals, fromlist, level)


class LateLoader(SourceFileLoader):
    """Run the module as it is, by its own way of importing."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        own = {**vars(builtins), "__import__": import_late}
        module.__dict__["__builtins__"] = own
        super().exec_module(module)


class LateFinder:
    """Find that one module."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Answer for it alone, and where it is a file of source."""
        if fullname != IMPORTER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return spec
        spec.loader = LateLoader(spec.loader.name, spec.loader.path)
        return spec


def hold_back() -> None:
    """Let the import system know, once."""
    if not any(isinstance(finder, LateFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, LateFinder())


@contextmanager
def collector_paused() -> Iterator[None]:
    """Import without Python's collector, which finds nothing to free there.

    It takes a tenth of the time of an `import torch`.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
