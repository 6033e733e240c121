"""What has moved: old names go on working, with a warning.

YAML files of published, converted and fine-tuned models name classes by the
modules in which they stood when the file was written, and the documentation
has shown some imports. `OLD_HOMES` lists these; other modules were private
(see CHANGELOG.md).
"""

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = __name__.rpartition(".")[0]
OLD_HOMES = {
    "candidates": "inference.candidates",
    "checkpoints": "pretrained.loading",
    "codec": "lobes.mel_codec",
    "fine_tuning": "training.adapters",
    "frontend": "lobes.wavlm_frontend",
    "guard": "inference.guard",
    "losses": "training.losses",
    "metrics.reading": "metrics.recognisers",
    "metrics.speechbrain_models": "metrics.checks",
    "mixing": "augment.mixture_dataset",
    "noise_mixer": "augment.noise_mixer",
    "panels": "evaluation.plot_panels",
    "plot": "evaluation.plot",
    "quality": "training.validation",
    "refiner": "lobes.refiner",
    "runs": "bulk",
    "runs.overview": "bulk.merged_manifests",
    "schedules": "nnet.schedulers",
    "spectral_frontend": "lobes.spectral_frontend",
    "token_lm": "lobes.token_lm",
    "token_loss": "training.token_loss",
    "tracks": "evaluation.plot_data",
    "training_state": "training.checkpointing",
    "vocoder": "lobes.xcodec2_vocoder",
}


class OldHomes:
    """Import a module that has moved by its old name."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Answer for the old names alone."""
        package, _, old = fullname.partition(".")
        if package != PACKAGE or old not in OLD_HOMES:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Give the module of the new home itself, no copy of it."""
        old = spec.name.partition(".")[2]
        new = f"{PACKAGE}.{OLD_HOMES[old]}"
        warnings.warn(
            f"{spec.name} is now {new}; the old name will go in version 1.0.",
            DeprecationWarning,
            stacklevel=2,
        )
        module = import_module(new)
        self.spec = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run: the module knows its own place again."""
        module.__spec__ = self.spec


def install() -> None:
    """Let the import system know the old names."""
    if not any(isinstance(finder, OldHomes) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldHomes())


def decode_by_stages(enhancer, tokens: list) -> list:
    """Decode tokens by `EnhanceLLaSE.decode`, which the notebook has shown."""
    warnings.warn(
        "EnhanceLLaSE.decode is now stages.decode; the old name will go in "
        "version 1.0.",
        DeprecationWarning,
        stacklevel=2,
    )
    return enhancer.stages.decode(tokens)
