"""What is installed, what a model folder holds, and whether it runs.

Every check gives a finding: fine, or what is wrong and what to do.
"""

import hashlib
import importlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.version import Version

TESTED = "constraints.txt of the repository names the tested set"
NEEDED = {  # package -> (at least, below or None)
    "torch": ("2.7.1", None),
    "torchaudio": ("2.7.1", None),
    "transformers": ("5.13", None),
    "speechbrain": ("1.1", "1.2"),
    "huggingface_hub": ("1.31", None),
    "hyperpyyaml": ("1.2", None),
    "safetensors": ("0.4", None),
    "soundfile": ("0.12.1", None),
}
OPTIONAL = ["xcodec2", "speechmos", "onnxruntime", "matplotlib"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    good: bool
    text: str


def check_packages() -> Iterator[Finding]:
    """Versions, and the pairs that break one another."""
    for name, (least, below) in NEEDED.items():
        version = installed(name)
        if version is None:
            yield Finding(False, f"{name} is missing: pip install {name}")
            continue
        good = Version(version) >= Version(least)
        good &= below is None or Version(version) < Version(below)
        wanted = f"{least} or newer" + (f", below {below}" if below else "")
        advice = "" if good else f", needed is {wanted} ({TESTED})"
        yield Finding(good, f"{name} {version}{advice}")
    yield from check_pairs()
    for name in OPTIONAL:
        yield Finding(True, f"{name} {installed(name) or 'not installed'}")


def check_pairs() -> Iterator[Finding]:
    """torch with torchaudio, and what xcodec2 pins."""
    torch, audio = installed("torch"), installed("torchaudio")
    if torch and audio:
        same = Version(torch).release[:2] == Version(audio).release[:2]
        if not same:
            yield Finding(
                False,
                f"torchaudio {audio} is built for another torch than {torch}: "
                f"install both of one release ({TESTED})",
            )
        try:
            importlib.import_module("torchaudio")
        except (ImportError, OSError, RuntimeError) as err:
            yield Finding(
                False, f"torchaudio does not load beside torch {torch}: {err}"
            )
    if installed("xcodec2") and torch and not torch.startswith("2.5.0"):
        yield Finding(
            True,
            "xcodec2 pins torch 2.5.0; beside this torch it works only if it "
            "was installed with pip install --no-deps",
        )


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_folder(folder: Path) -> Iterator[Finding]:
    """Files of a model, and their checksums where a manifest states them.

    Arguments
    ---------
    folder : Path
        A model folder.

    Yields
    ------
    Finding
        One for every file.
    """
    if not (folder / "hyperparams.yaml").is_file():
        yield Finding(False, f"{folder} has no hyperparams.yaml: no model")
        return
    listed = {}
    manifest = folder / "manifest.json"
    if manifest.is_file():
        listed = json.loads(manifest.read_text("utf-8"))["files"]
    for name, about in listed.items():
        path = folder / name
        if not path.is_file():
            yield Finding(False, f"{name} is missing: convert again")
            continue
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        good = digest == about["sha256"]
        advice = "checksum holds" if good else "was changed: convert again"
        yield Finding(good, f"{name} {size(path)}, {advice}")
    for path in sorted(folder.glob("*.ckpt")):
        if path.name not in listed:
            yield Finding(True, f"{path.name} {size(path)}, no checksum known")


def size(path: Path) -> str:
    """File size in MB."""
    return f"{path.stat().st_size / 1e6:.1f} MB"


def check_run(source: str, device: str, precision: str) -> Iterator[Finding]:
    """Load a model and enhance one second of noise.

    Arguments
    ---------
    source : str
        As `EnhanceLLaSE.from_hparams` takes it.
    device, precision : str
        SpeechBrain's run options.

    Yields
    ------
    Finding
        Loading, then enhancing, or what went wrong.
    """
    import torch

    from speechbrain_llase import EnhanceLLaSE

    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding(
        True, f"device {device} (CPU {capability}), precision {precision}"
    )
    start = time.perf_counter()
    try:
        enhancer = EnhanceLLaSE.from_hparams(
            source, run_opts={"device": device, "precision": precision}
        )
    except (ValueError, OSError, RuntimeError, KeyError) as err:
        reason = " ".join(str(err).split())
        yield Finding(False, f"{source} does not load: {reason}")
        return
    loaded_s = time.perf_counter() - start
    weights = sum(p.numel() for p in enhancer.mods.parameters())
    yield Finding(
        True,
        f"{source} loaded in {loaded_s:.1f} s, {weights / 1e6:.1f} M weights",
    )
    noise = torch.randn(1, enhancer.hparams.sample_rate)
    enhancer.enhance_batch(noise)  # warm-up
    start = time.perf_counter()
    enhanced = enhancer.enhance_batch(noise)
    spent = time.perf_counter() - start
    good = enhanced.shape == noise.shape and bool(enhanced.isfinite().all())
    yield Finding(
        good,
        f"one second of noise enhanced in {spent:.2f} s"
        if good
        else "the result of the self-test is not finite or of another length",
    )
