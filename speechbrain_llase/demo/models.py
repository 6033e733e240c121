"""The models of a page: those that the command line named, no others."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.dataio.urls import show
from speechbrain_llase.demo.scores import guard_lacks
from speechbrain_llase.inference.loading import (
    load_enhancer,
    offer_refiner,
    offer_tasks,
)
from speechbrain_llase.inference.multitask import TASKS
from speechbrain_llase.inference.sources import licence_of

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE


@dataclass(frozen=True)
class Model:
    """A model that visitors can choose."""

    name: str  # on the page; no path
    enhancer: "EnhanceLLaSE"
    licence: str  # of its weights, as its YAML states it
    guard_off: str  # why the guard cannot be used; empty if it can

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of what it can do."""
        several = hasattr(self.enhancer.stages, "task_name")
        return tuple(TASKS) if several else ("se",)


def load_models(source: list[str], **options) -> dict[str, Model]:
    """Load all that the command line named, in its order.

    The options are those of `load_enhancer`. Raises a ValueError if a source
    is unknown, named twice or does not fit.
    """
    models = {}
    for one in source:
        name = short_name(one)
        if name in models:
            raise ValueError(
                f"--source names two models {name}; visitors could not tell "
                "them apart. Rename a folder."
            )
        enhancer = load_enhancer(one, **options)
        offer_tasks(enhancer)
        offer_refiner(enhancer)
        models[name] = Model(
            name, enhancer, licence_of(one), guard_lacks(enhancer.guard)
        )
    return models


def short_name(source: str) -> str:
    """Name a source without where it lies, or a password in its URL.

    Example
    -------
    >>> short_name("org/name"), short_name("https://me:secret@host/llase")
    ('org/name', 'https://***@host/llase')
    """
    if os.path.isdir(source):
        return Path(source).resolve().name
    return show(source)
