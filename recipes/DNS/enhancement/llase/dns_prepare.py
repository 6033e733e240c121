"""Checked lists of speech, noise and rooms for the DNS recipe."""

from speechbrain_llase.dataio.preparation import prepare_manifests


def prepare_dns(hparams):
    """Write train.csv, valid.csv, noise_train.csv and so on.

    Arguments
    ---------
    hparams : dict
        With clean, clean_valid, noise, noise_valid and rir (folders, .csv or
        .json, or null) and what `prepare_manifests` wants.
    """
    prepare_manifests(
        {
            "train": hparams["clean"],
            "valid": hparams["clean_valid"],
            "noise_train": hparams["noise"],
            "noise_valid": hparams["noise_valid"],
            "rir": hparams["rir"],
        },
        hparams,
        hparams["data_root"],
    )
