"""Which files belong together: noisy, enhanced, clean and what was said."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from speechbrain_llase.dataio.audio_files import find_audio
from speechbrain_llase.processing.framing import SAMPLE_RATE


@dataclasses.dataclass(frozen=True)
class Clip:
    """One item of a test set."""

    name: str
    waves: Mapping[str, Path | np.ndarray]  # row -> file, or (T,) float32
    text: str | None = None  # what is said
    beside: Path | np.ndarray | None = None  # a loopback, as a wave
    about: Mapping = dataclasses.field(default_factory=dict)  # for reports


@dataclasses.dataclass(frozen=True)
class Skip:
    """Something that was not scored; it counts as nothing, not as zero."""

    clip: str
    row: str  # "" for the whole clip
    column: str  # "" for all columns
    reason: str


def find_clips(
    folders: Mapping[str, Path], texts: Mapping[str, str] | None = None
) -> tuple[list[Clip], list[Skip]]:
    """Match the files of several folders by their paths.

    Arguments
    ---------
    folders : mapping
        Row ("noisy", "enhanced", maybe "clean", and "reference" for what is
        heard beside) to its folder, searched to the bottom. Files match whose paths below their folders are the same
        but for the audio ending.
    texts : mapping, optional
        Name of a clip, its path without the ending, to what is said.

    Returns
    -------
    clips : list of Clip
        Those found in all folders, by name.
    skipped : list of Skip
        The others.

    Raises
    ------
    ValueError
        If a folder is missing or holds no audio, two files of one folder
        have one name, or nothing matches.
    """
    found = {row: index_folder(folder) for row, folder in folders.items()}
    names = sorted(set().union(*found.values()))
    clips, skipped = [], []
    for name in names:
        missing = [row for row in folders if name not in found[row]]
        if missing:
            reason = f"no file in {', '.join(str(folders[x]) for x in missing)}"
            skipped.append(Skip(name, "", "", reason))
            continue
        waves = {row: found[row][name] for row in folders}
        beside = waves.pop("reference", None)
        text = (texts or {}).get(name)
        clips.append(Clip(name, waves, text, beside=beside))
    if not clips:
        raise ValueError(
            "No name is in all of "
            f"{', '.join(map(str, folders.values()))}; files must have the "
            "same paths below them, but for the ending."
        )
    return clips, skipped


def index_folder(folder: Path) -> dict[str, Path]:
    """Find the audio anywhere below a folder.

    Gives paths below it, without ending and with slashes, with their files.
    Raises a ValueError if there is no such folder or audio, or if two files
    have one name.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    files = {}
    for file, relative in find_audio(folder):
        name = Path(relative).with_suffix("").as_posix()
        if name in files:
            raise ValueError(
                f"{files[name]} and {file} have one name; keep one of them."
            )
        files[name] = file
    return files


def read_texts(file: Path) -> dict[str, str]:
    """Read transcripts: on each line a name, white space and the words.

    That is the form of LibriSpeech's `.trans.txt` and of Kaldi's `text`.

    Arguments
    ---------
    file : Path
        UTF-8 text.

    Returns
    -------
    texts : dict
        Name to words.

    Raises
    ------
    ValueError
        If it is not UTF-8, holds nothing or a name twice.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as err:
        raise ValueError(f"{file} is not UTF-8 text.") from err
    texts = {}
    for line in filter(str.strip, lines):
        name, *words = line.split(maxsplit=1)
        if name in texts:
            raise ValueError(f"{file} has two texts for {name}; keep one.")
        texts[name] = words[0] if words else ""
    if not texts:
        raise ValueError(
            f"{file} holds no text. Write a clip's name, a space and its "
            "words on each line."
        )
    return texts


def as_wave(wave: Path | np.ndarray) -> np.ndarray:
    """Read a wave that is a file, as the measures take it.

    Arguments
    ---------
    wave : Path or np.ndarray
        Audio of any rate; channels are averaged, the level is kept. A wave
        (T,) at 16 kHz is given back.

    Returns
    -------
    wave : np.ndarray
        (T,) float32, 16 kHz.

    Raises
    ------
    ValueError
        If it cannot be read as audio.
    """
    if isinstance(wave, np.ndarray):
        return wave
    import torch

    from speechbrain_llase.dataio.audio_reader import read_blocks

    return torch.cat(list(read_blocks(wave, SAMPLE_RATE))).numpy()
