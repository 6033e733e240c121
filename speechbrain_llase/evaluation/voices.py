"""Separated speakers: which result is which speaker, by SI-SDR."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from speechbrain_llase.evaluation.clips import (
    Clip,
    Skip,
    as_wave,
    index_folder,
)
from speechbrain_llase.evaluation.scoring import compared
from speechbrain_llase.metrics import SISDR


def find_voices(
    folders: Mapping[str, Path], texts: Mapping[str, str] | None = None
) -> tuple[list[Clip], list[Skip]]:
    """Match each mixture, NAME, with NAME_1 and NAME_2 of the other folders.

    As `find_clips` does, with a clip for each of the two speakers. Where there
    are clean originals, the results are put in the order in which their SI-SDR
    is the best.
    """
    found = {row: index_folder(folder) for row, folder in folders.items()}
    clips, skipped = [], []
    for name, mixture in sorted(found.pop("noisy").items()):
        names = [f"{name}_{number}" for number in (1, 2)]
        missing = [
            str(folders[row])
            for row in found
            if not all(x in found[row] for x in names)
        ]
        if missing:
            reason = f"{' and '.join(names)} are not in {', '.join(missing)}"
            skipped.append(Skip(name, "", "", reason))
            continue
        rows = {row: [files[x] for x in names] for row, files in found.items()}
        if "clean" in rows and is_crossed(rows["enhanced"], rows["clean"]):
            rows["enhanced"].reverse()
        for k, voice in enumerate(names):
            own = {row: files[k] for row, files in rows.items()}
            text = (texts or {}).get(voice)
            clips.append(Clip(voice, {"noisy": mixture, **own}, text))
    if not clips:
        raise ValueError(
            f"No NAME of {folders['noisy']} has a NAME_1 and a NAME_2 in "
            f"{', '.join(str(folders[row]) for row in found)}."
        )
    return clips, skipped


def is_crossed(results: Sequence[Path], originals: Sequence[Path]) -> bool:
    """Tell whether two results fit two originals better in the other order.

    Not, where a measure or a file is refused: its clip will say so.
    """
    measure = SISDR()
    try:
        ours, theirs = ([as_wave(x) for x in y] for y in (results, originals))
        fits = [
            sum(compared(measure, *pair) for pair in zip(order, theirs))
            for order in (ours, ours[::-1])
        ]
    except ValueError:
        return False
    return fits[1] > fits[0]
