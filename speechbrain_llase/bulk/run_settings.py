"""What a run is: the model and the settings that its outputs depend on."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_llase import __version__
from speechbrain_llase.dataio.urls import show

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

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
FINGERPRINT_DIGITS = 12  # of a fingerprint
PIECE = 1 << 20  # bytes that are hashed at a time
WHOLE = 1 << 28  # bytes of a file that is hashed whole; of larger ones
PIECES = 64  # of them are, the first and the last one included


@dataclass(frozen=True)
class Description:
    """What the outputs of a run depend on, the inputs aside.

    The device, the size of batches and the number of threads are not in it.
    """

    model: str  # the source's name and a digest of its files
    settings: dict[str, Any]  # plain values by name

    @property
    def fingerprint(self) -> str:
        """A short digest: equal for runs that may be mixed."""
        text = json.dumps([self.model, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """Give model and settings in one flat dictionary."""
        return {"model": self.model, **self.settings}


def describe_run(
    enhancer: "EnhanceLLaSE", source: str | Path, precision: str = "fp32"
) -> Description:
    """Describe what an enhancer does to its inputs, equally on all machines.

    `source` and `precision` are those that it was loaded with.
    """
    settings = {key: getattr(enhancer.hparams, key) for key in SETTINGS}
    settings["decoder_hears"] = (
        "mean" if enhancer.stages.decodes_mean else "best"
    )
    settings |= refinement(enhancer)
    settings["compute"] = enhancer.computes_in
    settings["precision"] = precision
    settings["version"] = __version__
    if enhancer.stages.mix < 1:
        settings["mix"] = enhancer.stages.mix
    for name, is_on in (
        ("guard", enhancer.guard.enabled),
        ("candidates", enhancer.candidates.num_candidates > 1),
    ):
        settings[name] = plain(getattr(enhancer, name)) if is_on else False
    settings |= enhancer.stages.told
    pretrainer = getattr(enhancer.hparams, "pretrainer", None)
    weights = getattr(pretrainer, "paths", {})
    return Description(model_id(source, weights), settings)


def refinement(enhancer: "EnhanceLLaSE") -> dict[str, Any]:
    """Tell the refiner that a model was given, and where its knob stands."""
    source = getattr(enhancer.hparams, "refine", False)
    told = {"generative": enhancer.stages.generative}
    if source:
        from speechbrain_llase.inference.loading import WITH_REFINER

        told["refine"] = model_id(WITH_REFINER if source is True else source)
    return {key: value for key, value in told.items() if value is not None}


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


def model_id(
    source: str | Path, weights: Mapping[str, str | Path] | None = None
) -> str:
    """Name a model by its source and its files' content.

    The YAML and the weights of a folder are looked into. `weights` are more of
    them, by names that are the same on every machine, such as those of a
    loaded model that came from a hub. The name is such as
    "llase_mini@1f0c9a7be215"; a URL or a hub's id stands alone if there is
    nothing to look into.
    """
    from speechbrain_llase.inference.sources import resolve_source

    folder = Path(str(resolve_source(source)))
    files = {}
    if folder.is_dir():
        found = (x for x in sorted(folder.iterdir()) if x.is_file())
        files = {x.name: x for x in found if x.suffix.lower() in MODEL_SUFFIXES}
    name = folder.resolve().name if files else show(str(source))
    inside = {path.resolve() for path in files.values()}
    for key, path in sorted((weights or {}).items()):
        if os.path.isfile(path) and Path(path).resolve() not in inside:
            files[f"weights of {key}"] = Path(path)
    digest = hashlib.sha256()
    for key, path in files.items():
        digest.update(f"{key}\0{path.stat().st_size}\0".encode())
        add_content(digest, path)
    return (
        f"{name}@{digest.hexdigest()[:FINGERPRINT_DIGITS]}" if files else name
    )


def add_content(digest: "hashlib._Hash", path: Path) -> None:
    """Hash a file, or of a large one pieces at even distances.

    Training changes weights everywhere; a file of PyTorch also ends with
    check sums of all that is in it.
    """
    size = path.stat().st_size
    starts = range(0, size, PIECE)
    if size > WHOLE:
        last = size - PIECE
        starts = [last * k // (PIECES - 1) for k in range(PIECES)]
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(PIECE))
