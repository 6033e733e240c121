"""What a run is: the model and the settings that its outputs depend on.

Authors
 * The speechbrain_llase contributors 2026
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_llase import __version__

if TYPE_CHECKING:
    from speechbrain_llase.inference import EnhanceLLaSE

MODEL_SUFFIXES = frozenset(
    ".bin .ckpt .json .pt .pth .safetensors .tar .yaml .yml".split()
)
SETTINGS = (
    "sample_rate",
    "window_s",
    "context_s",
    "crossfade_s",
    "context_from",
    "restore_level",
)
DIGITS = 12  # of a fingerprint
PIECE = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True)
class Description:
    """What the outputs of a run depend on, the inputs aside.

    The device, the size of batches and the number of threads are not in it.
    """

    model: str  # the source's name and, of a folder, a digest of its files
    settings: dict[str, Any]  # plain values by name

    @property
    def fingerprint(self) -> str:
        """A short digest: equal for runs that may be mixed."""
        text = json.dumps([self.model, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """Give model and settings in one flat dictionary."""
        return {"model": self.model, **self.settings}


def describe_run(
    enhancer: "EnhanceLLaSE", source: str | Path, precision: str = "fp32"
) -> Description:
    """Describe what an enhancer does to its inputs.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        As it was loaded.
    source : str or Path
        From where, as for `EnhanceLLaSE.from_hparams`.
    precision : str
        As in its run_opts.

    Returns
    -------
    description : Description
        The same on every machine.
    """
    settings = {key: getattr(enhancer.hparams, key) for key in SETTINGS}
    settings["compute"] = enhancer.computes_in
    settings["precision"] = precision
    settings["version"] = __version__
    for name, is_on in (
        ("guard", enhancer.guard.enabled),
        ("candidates", enhancer.candidates.num_candidates > 1),
    ):
        settings[name] = plain(getattr(enhancer, name)) if is_on else False
    return Description(model_id(source), settings)


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Name what two descriptions, as dictionaries, differ in."""
    return [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} now"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]


def plain(section: object) -> dict[str, Any]:
    """Collect an object's plain settings."""
    kinds = (bool, int, float, str, dict, type(None))
    return {
        key: value
        for key, value in sorted(vars(section).items())
        if isinstance(value, kinds) and not key.startswith("_")
    }


def model_id(source: str | Path) -> str:
    """Name a model: a folder by its name and its files' content.

    Arguments
    ---------
    source : str or Path
        As for `EnhanceLLaSE.from_hparams`.

    Returns
    -------
    model : str
        Such as "llase_mini@1f0c9a7be215"; a URL or a hub's id as it is.
    """
    from speechbrain_llase.sources import resolve_source

    folder = Path(str(resolve_source(source)))
    if not folder.is_dir():
        return str(source)
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in MODEL_SUFFIXES and path.is_file():
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
    return f"{folder.resolve().name}@{digest.hexdigest()[:DIGITS]}"
