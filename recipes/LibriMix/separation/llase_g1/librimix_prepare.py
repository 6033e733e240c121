"""The lists of Libri2Mix: every mixture twice, for either speaker.

The folder is that of https://github.com/JorisCos/LibriMix, 16 kHz, two
speakers, as for SpeechBrain's recipes/LibriMix.
"""

from pathlib import Path

import torch

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder, write_manifest
from speechbrain_llase.dataio.preparation import refuse_missing_lists
from speechbrain_llase.dataio.recordings import read_speech


def prepare_librimix(hparams):
    """Write train.csv, valid.csv and test.csv.

    An entry NAME_1 has the louder speaker as clean_wav; NAME_2 the softer one,
    and the louder one as reference_wav, which is heard beside the mixture.

    Arguments
    ---------
    hparams : dict
        Of the YAML, with data_folder, which holds `train-100` and so on;
        train_set, valid_set and test_set, their names; mixture, the folder in
        them (mix_clean or mix_both); manifest_folder, sample_rate, most_bad
        and skip_prep.

    Raises
    ------
    FileNotFoundError
        A folder is missing.
    ValueError
        Files cannot be used, or a mixture lacks one of its speakers.
    """
    folder = Path(hparams["manifest_folder"])
    sets = {
        "train": hparams["train_set"],
        "valid": hparams["valid_set"],
        "test": hparams["test_set"],
    }
    if hparams["skip_prep"]:
        refuse_missing_lists(folder, tuple(f"{part}.csv" for part in sets))
        return
    for part, name in sets.items():
        place = Path(hparams["data_folder"]) / name
        entries = list_mixtures(place, hparams["mixture"], hparams)
        write_manifest(entries, folder / f"{part}.csv")


def list_mixtures(folder, mixture, hparams):
    """List both speakers of every mixture of a set that can be used."""
    sources = [list_folder(folder / name) for name in (mixture, "s1", "s2")]
    missing = [name for name in sources[0] if name not in sources[1]]
    missing += [name for name in sources[0] if name not in sources[2]]
    if missing:
        raise ValueError(
            f"{folder} has mixtures without both speakers in s1 and s2, as "
            f"{missing[0]}; make Libri2Mix again."
        )
    entries = {}
    for name in sources[0]:
        noisy, *voices = (source[name]["clean_wav"] for source in sources)
        louder, softer = sorted(voices, key=power_of, reverse=True)
        both = {"noisy_wav": noisy}
        entries[f"{name}_1"] = {"clean_wav": louder, **both}
        both["reference_wav"] = louder
        entries[f"{name}_2"] = {"clean_wav": softer, **both}
    return check_entries(entries, hparams["sample_rate"], hparams["most_bad"])


def power_of(path):
    """Mean power of a file, whatever its rate: that is checked later."""
    wav = read_speech(path, 16000, resample=True)[1]
    return float(torch.mean(wav.double() ** 2))
