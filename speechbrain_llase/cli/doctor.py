"""`speechbrain-llase doctor`: the installation and a model, checked.

Every check gives a finding: fine, worth a look, or wrong and what to do.
"""

import argparse
import hashlib
import importlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import (
    add_command,
    add_device_options,
    non_empty,
    one_line,
    refuse,
)
from speechbrain_llase.inference.loading import pick_device
from speechbrain_llase.pretrained.official import FILE_ENDINGS

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from speechbrain_llase import EnhanceLLaSE

HELP = """\
Check what is installed, a model's files and that it runs: what is used is
tried, whatever its version. Of a file as downloaded, say which official file it
is and what of it is used.
"""
EPILOG = "exit codes: 0 all is well, 1 something is wrong, 2 usage"
TESTED = "constraints.txt of the repository names the tested set"
OPTIONAL = ["xcodec2", "speechmos", "onnxruntime", "matplotlib"]


@dataclass(frozen=True)
class Finding:
    """One line of the report; what is good may still deserve a warning."""

    good: bool
    text: str
    is_warning: bool = False

    def __str__(self) -> str:
        mark = "BAD" if not self.good else "warn" if self.is_warning else "ok"
        return f"{mark:<4} {self.text}"


def add_parser(subparsers) -> None:
    """Describe the sub-command `doctor`."""
    summary = "check the installation and a model"
    parser = add_command(subparsers, "doctor", run, summary, HELP, EPILOG)
    parser.add_argument(
        "source",
        nargs="?",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR|FILE",
        help="a packaged model's name, a folder, or an official file as it was"
        " downloaded (default: %(default)s)",
    )
    add_device_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase doctor`; return the exit code."""
    findings = [*check_packages()]
    if os.path.isfile(args.source):
        from speechbrain_llase.cli.file_checks import check_file

        findings += check_file(Path(args.source))
    elif args.source.endswith(FILE_ENDINGS) and not os.path.isdir(args.source):
        return refuse(f"there is no file {args.source}")
    else:
        from speechbrain_llase.inference.sources import resolve_source

        try:
            device = pick_device(args.device)
            source = resolve_source(args.source)
        except ValueError as err:
            return refuse(one_line(err))
        if os.path.isdir(source):
            findings += check_folder(Path(source))
        findings += check_run(args.source, device, args.precision)
    for finding in findings:
        print(finding)
    return 0 if all(finding.good for finding in findings) else 1


def check_packages() -> Iterator[Finding]:
    """Whether what the installation asks for is here, loads and works.

    A version outside of the bounds is worth a look, for it was not tried; what
    counts is whether it works.
    """
    from packaging.requirements import Requirement

    needed = map(Requirement, metadata.requires("speechbrain_llase"))
    for one in needed:
        if not one.marker or one.marker.evaluate({"extra": ""}):
            yield check_package(one)
    yield from map(check_use, USES)
    torch = installed("torch")
    if installed("xcodec2") and torch and not torch.startswith("2.5.0"):
        yield Finding(
            True,
            "xcodec2 pins torch 2.5.0; beside this torch it works only if it "
            "was installed with pip install --no-deps",
            is_warning=True,
        )
    for name in OPTIONAL:
        yield Finding(True, f"{name} {installed(name) or 'not installed'}")


def check_package(needed: "Requirement") -> Finding:
    """Import what a requirement names."""
    name = needed.name
    if (version := installed(name)) is None:
        return Finding(False, f"{name} is missing: pip install {name}")
    try:
        importlib.import_module(name)
    except Exception as err:  # whatever it is, the package is of no use
        beside = f" beside torch {installed('torch')}" * (name != "torch")
        return Finding(
            False,
            f"{name} {version} does not load{beside} ({told(err)}): install "
            f"another version ({TESTED})",
        )
    if needed.specifier.contains(version, prereleases=True):
        return Finding(True, f"{name} {version}")
    tried = f"tried is {needed.specifier} ({TESTED})"
    return Finding(True, f"{name} {version}, {tried}", is_warning=True)


def check_use(use: Callable[[], None]) -> Finding:
    """Do what the package does with others."""
    try:
        use()
    except Exception as err:  # as above
        return Finding(False, f"{use.__doc__} fails: {told(err)} ({TESTED})")
    return Finding(True, use.__doc__)


def use_torchaudio() -> None:
    """torchaudio's mel bands"""
    import torchaudio

    bands = torchaudio.functional.melscale_fbanks(201, 0.0, 8000.0, 40, 16000)
    if bands.shape != (201, 40) or not bands.isfinite().all():
        raise ValueError(f"{tuple(bands.shape)} in place of (201, 40)")


def use_soundfile() -> None:
    """soundfile's writing and reading"""
    import numpy as np
    import soundfile

    file, wav = io.BytesIO(), np.arange(-4, 4, dtype=np.float32) / 8
    soundfile.write(file, wav, 16000, "PCM_16", format="WAV")
    file.seek(0)
    read, rate = soundfile.read(file, dtype="float32")
    if rate != 16000 or not np.array_equal(read, wav):
        raise ValueError("other samples come back")


USES = [use_torchaudio, use_soundfile]


def told(err: Exception) -> str:
    """Say what an error says, and of which kind it is, in one line."""
    return f"{type(err).__name__}: {one_line(err)}"


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_folder(folder: Path) -> Iterator[Finding]:
    """Files of a model, and their checksums where a manifest states them."""
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
    """Load a model and enhance one second of noise."""
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
    except Exception as err:  # whatever it is, there is no model
        yield Finding(False, f"{source} does not load: {told(err)}")
        return
    loaded_s = time.perf_counter() - start
    weights = sum(p.numel() for p in enhancer.mods.parameters())
    yield Finding(
        True,
        f"{source} loaded in {loaded_s:.1f} s, {weights / 1e6:.1f} M weights",
    )
    yield check_noise(enhancer)


def check_noise(enhancer: "EnhanceLLaSE") -> Finding:
    """Enhance one second of noise, twice."""
    import torch

    noise = torch.randn(1, enhancer.hparams.sample_rate)
    try:
        enhancer.enhance_batch(noise)  # warm-up
        start = time.perf_counter()
        enhanced = enhancer.enhance_batch(noise)
    except Exception as err:  # whatever it is, nothing will be enhanced
        return Finding(False, f"the self-test fails: {told(err)}")
    spent = time.perf_counter() - start
    if enhanced.shape != noise.shape or not enhanced.isfinite().all():
        return Finding(
            False,
            "the result of the self-test is not finite or of another length",
        )
    return Finding(True, f"one second of noise enhanced in {spent:.2f} s")
