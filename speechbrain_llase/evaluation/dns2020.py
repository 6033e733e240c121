"""The test set of the DNS Challenge 2020, and what was published on it.

The tree is that of the Challenge's repository, branch
interspeech2020/master, below `datasets/test_set`:

    synthetic/no_reverb/{noisy,clean}      noisy names end in _fileid_I.wav,
    synthetic/with_reverb/{noisy,clean}    clean ones are clean_fileid_I.wav
    real_recordings                        no clean originals

Reddy et al., "The INTERSPEECH 2020 Deep Noise Suppression Challenge".
"""

import csv
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from speechbrain_llase.evaluation.clips import Clip, index_folder

SUBSETS = ("with_reverb", "no_reverb", "real_recordings")
SCALES = ("SIG", "BAK", "OVRL")
FILE_ID = re.compile(r"(?:^|_)fileid_(\d+)$")


def find_subsets(testset: Path) -> dict[str, list[Clip]]:
    """Find the clips of the test set.

    Arguments
    ---------
    testset : Path
        The folder with `synthetic` and `real_recordings`, or the top of the
        Challenge's repository.

    Returns
    -------
    subsets : dict
        Subset to its clips, rows "noisy" and, if synthetic, "clean". Those
        that are not there are left out.

    Raises
    ------
    ValueError
        If none is there, or a noisy file has no clean original.
    """
    inner = testset / "datasets" / "test_set"
    top = inner if inner.is_dir() else testset
    subsets = {
        name: paired(top / "synthetic" / name)
        for name in SUBSETS[:2]
        if (top / "synthetic" / name).is_dir()
    }
    if (top / "real_recordings").is_dir():
        files = sorted(index_folder(top / "real_recordings").items())
        clips = [Clip(name, {"noisy": file}) for name, file in files]
        subsets["real_recordings"] = clips
    if not subsets:
        raise ValueError(
            f"{testset} has neither synthetic/with_reverb, synthetic/no_reverb "
            "nor real_recordings; give datasets/test_set of the DNS Challenge's "
            "repository, branch interspeech2020/master."
        )
    return subsets


def paired(folder: Path) -> list[Clip]:
    """Match the files of `noisy` and `clean` by their file ids, in order.

    Raises a ValueError if a name has no file id, or an id has no clean file
    or two.
    """
    noisy, clean = (by_file_id(folder / name) for name in ("noisy", "clean"))
    missing = sorted(set(noisy) - set(clean))
    if missing:
        raise ValueError(
            f"{folder / 'clean'} has no file for the ids {missing[:10]}, "
            f"{len(missing)} in all; is the test set complete?"
        )
    return [
        Clip(f"fileid_{key}", {"noisy": noisy[key], "clean": clean[key]})
        for key in sorted(noisy)
    ]


def by_file_id(folder: Path) -> dict[int, Path]:
    """Map the number after `fileid_` to its file."""
    files = {}
    for name, file in index_folder(folder).items():
        match = FILE_ID.search(name)
        if not match:
            raise ValueError(f"The name of {file} does not end in _fileid_I.")
        key = int(match[1])
        if key in files:
            raise ValueError(f"{files[key]} and {file} have one file id.")
        files[key] = file
    return files


def read_published() -> dict[str, dict[str, dict[str, float]]]:
    """Read the published figures: system to subset to SIG, BAK and OVRL.

    What was not published is not in it. The file, published.csv, names the
    source of every line.
    """
    file = resources.files("speechbrain_llase.evaluation") / "published.csv"
    published: dict[str, dict] = {}
    for line in csv.DictReader(file.read_text("utf-8").splitlines()):
        figures = {x: float(line[x]) for x in SCALES if line[x]}
        published.setdefault(line["system"], {})[line["subset"]] = figures
    return published


def comparison(measured: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Write published and measured figures as one Markdown table.

    Arguments
    ---------
    measured : mapping
        Name of a system to subset to SIG, BAK and OVRL.

    Returns
    -------
    table : str
        A dash where there is no figure.
    """
    names = {x: x.replace("_", " ") for x in SUBSETS}
    titles = [f"{names[x]} {scale}" for x in SUBSETS for scale in SCALES]
    lines = ["| system | figures | " + " | ".join(titles) + " |"]
    lines.append("|---|---|" + "---|" * len(titles))
    kinds = [("published", read_published()), ("measured here", measured)]
    for kind, systems in kinds:
        for system, subsets in systems.items():
            figures = [
                subsets.get(subset, {}).get(scale)
                for subset in SUBSETS
                for scale in SCALES
            ]
            cells = ["-" if x is None else f"{x:.2f}" for x in figures]
            lines.append(f"| {system} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
