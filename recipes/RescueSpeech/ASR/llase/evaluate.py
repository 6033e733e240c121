#!/usr/bin/env python3
"""Recipe for an enhancer before a SpeechBrain recogniser: word errors.

To run this recipe, do the following:
> python evaluate.py hparams/evaluate.yaml --test_csv=test.csv

The recogniser reads the noisy speech, the enhanced speech and, where the list
has it, the clean speech; word errors of all three go to results.json, every
transcript with its errors to wer_noisy.txt and so on.
"""

import json
import sys
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.metric_stats import ErrorRateStats
from tqdm import tqdm

from speechbrain_llase.dataio.whole_files import whole_file


def dataio_prep(hparams, enhancer, file):
    """Read a list; every wave at the enhancer's rate."""
    dataset = DynamicItemDataset.from_csv(
        file, replacements={"data_root": hparams["data_root"]}
    )
    columns = hparams["columns"]
    kinds = [kind for kind in ("noisy", "clean") if columns[kind]]
    for kind in kinds:
        dataset.add_dynamic_item(
            enhancer.load_audio, takes=columns[kind], provides=f"{kind}_sig"
        )
    dataset.set_output_keys(
        ["id", columns["words"], *(f"{kind}_sig" for kind in kinds)]
    )
    return dataset, kinds


def transcribe(asr, wavs, lengths):
    """Words of a batch, whether the recogniser gives texts or lists."""
    texts = asr.transcribe_batch(wavs, lengths)[0]
    return [t if isinstance(t, str) else " ".join(t) for t in texts]


def check_rates(enhancer, asr):
    """Refuse a recogniser that hears another rate than the enhancer gives."""
    ours = enhancer.hparams.sample_rate
    theirs = asr.audio_normalizer.sample_rate
    if theirs != ours:
        raise ValueError(
            f"The recogniser hears {theirs} Hz, the enhancer gives {ours} Hz; "
            f"name a recogniser at {ours} Hz."
        )


def load_trained(folder, enhancer, asr):
    """Load what train.py has learned, a CKPT+ folder, into both."""
    targets = {"enhancer": enhancer.mods.token_lm, "recogniser": asr.mods}
    found = [name for name in targets if (folder / f"{name}.ckpt").is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder} has neither recogniser.ckpt nor enhancer.ckpt; name a "
            "CKPT+ folder in the folder save of a run of train.py."
        )
    for name in found:
        weights = torch.load(
            folder / f"{name}.ckpt", map_location="cpu", weights_only=True
        )
        prefix = "networks." if name == "recogniser" else ""
        targets[name].load_state_dict(
            {key.removeprefix(prefix): w for key, w in weights.items()}
        )


def evaluate(hparams, run_opts, enhancer, asr):
    """Recognise every row and count the errors.

    Arguments
    ---------
    hparams : dict
        Of the YAML.
    run_opts : dict
        Of the command line.
    enhancer, asr : Pretrained
        The two interfaces.

    Returns
    -------
    results : dict
        Row -> what `ErrorRateStats` sums up.
    """
    check_rates(enhancer, asr)
    dataset, kinds = dataio_prep(hparams, enhancer, hparams["test_csv"])
    stats = {row: ErrorRateStats() for row in ["noisy", "enhanced", *kinds[1:]]}
    loader = torch.utils.data.DataLoader(
        dataset, hparams["batch_size"], collate_fn=PaddedBatch
    )
    for batch in tqdm(loader, disable=run_opts.get("noprogressbar", False)):
        waves = {kind: batch[f"{kind}_sig"] for kind in kinds}
        noisy, lengths = waves["noisy"]
        waves["enhanced"] = enhancer.enhance_batch(noisy, lengths), lengths
        words = [text.split() for text in batch[hparams["columns"]["words"]]]
        for row, (wavs, lengths) in waves.items():
            read = [t.split() for t in transcribe(asr, wavs, lengths)]
            if hparams["upper_case"]:
                read, said = (
                    [[w.upper() for w in text] for text in texts]
                    for texts in (read, words)
                )
            else:
                said = words
            stats[row].append(batch.id, read, said)
    return stats


def write(stats, folder):
    """Write results.json and the transcripts; print the word errors."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {row: s.summarize() for row, s in stats.items()}
    for row, s in stats.items():
        with open(folder / f"wer_{row}.txt", "w", encoding="utf-8") as file:
            s.write_stats(file)
        print(f"{row}: {results[row]['WER']:.2f} % word errors")
    with whole_file(folder / "results.json") as partial:
        partial.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    options = {key: run_opts[key] for key in ("device",) if key in run_opts}
    enhancer = hparams["enhancer"](run_opts=options)
    asr = hparams["asr"](run_opts=options)
    if hparams["trained"]:
        load_trained(Path(hparams["trained"]), enhancer, asr)
    stats = evaluate(hparams, run_opts, enhancer, asr)
    write(stats, Path(hparams["output_folder"]))
