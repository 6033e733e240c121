"""The lists of Voicebank-DEMAND, in the form of SpeechBrain's own recipe.

The folder is that of SpeechBrain's `download_vctk`, at 16 kHz. Lists that its
`prepare_voicebank` wrote can be used as they are, with --skip_prep=True; the
phones that it adds are not needed here.
"""

import json
import string
from pathlib import Path

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import pair_folders
from speechbrain_llase.dataio.whole_files import whole_file

TRAIN, TEST = "trainset_28spk", "testset"
# Speakers in the order of SpeechBrain's recipe: the first ones validate.
SPEAKERS = """p226 p287 p227 p228 p230 p231 p233 p236 p239 p243 p244 p250 p254
p256 p258 p259 p267 p268 p269 p270 p273 p274 p276 p277 p278 p279 p282
p286""".split()


def prepare_voicebank(
    data_folder, save_folder, valid_speaker_count=2, skip_prep=False
):
    """Write train.json, valid.json and test.json.

    Arguments
    ---------
    data_folder : str
        Holds clean_trainset_28spk_wav_16k, noisy_trainset_28spk_wav_16k,
        clean_testset_wav_16k and noisy_testset_wav_16k.
    save_folder : str
        Where the lists are written.
    valid_speaker_count : int
        Speakers of the training set that validate, of 28.
    skip_prep : bool
        The lists are there already.

    Raises
    ------
    FileNotFoundError
        A folder is missing.
    ValueError
        A file cannot be read, or is not at 16 kHz.
    """
    if skip_prep:
        return
    training, test = list_part(data_folder, TRAIN), list_part(data_folder, TEST)
    speakers = SPEAKERS[:valid_speaker_count]
    parts = {"train": {}, "valid": {}, "test": test}
    for name, entry in training.items():
        part = "valid" if name.split("_")[0] in speakers else "train"
        parts[part][name] = entry
    for part, entries in parts.items():
        if not entries:
            raise ValueError(
                f"Nothing is left for {part}; valid_speaker_count is "
                f"{valid_speaker_count} and names end like p226_001.wav."
            )
        write_whole(Path(save_folder) / f"{part}.json", entries)


def list_part(data_folder, part):
    """List one set: pairs, their lengths and, where there are any, words."""
    root = Path(data_folder)
    clean, noisy = (
        root / f"{kind}_{part}_wav_16k" for kind in ("clean", "noisy")
    )
    for folder in (clean, noisy):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no {folder}; make it by download_vctk of "
                "SpeechBrain's recipes/Voicebank/voicebank_prepare.py."
            )
    pairs = check_entries(pair_folders(clean, noisy), 16000, most_bad=0.0)
    entries = {}
    for name, entry in pairs.items():
        entries[name] = {
            "noisy_wav": "{data_root}/" + f"{noisy.name}/{name}.wav",
            "clean_wav": "{data_root}/" + f"{clean.name}/{name}.wav",
            "length": entry["duration"],
        }
        text = root / f"{part}_txt" / f"{name}.txt"
        if text.is_file():
            words = text.read_text(encoding="utf-8")
            words = words.translate(str.maketrans("", "", string.punctuation))
            entries[name]["words"] = words.strip().upper()
    return entries


def write_whole(path, entries):
    """Write a list, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(entries, indent=2), encoding="utf-8")
