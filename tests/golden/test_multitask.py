"""LLaSE-G1's released network on stand-in weights, all five tasks.

`g1_tiny` borrows the frontend and vocoder of `tiny`; `g1_small` has its own.
Its JSON says of each array what it is.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import stand_in
import torch

from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained.loading import (
    load_frontend,
    load_multitask_lm,
    load_vocoder,
)

HERE = Path(__file__).parent
TINY_LM = (64, 32, 3, 4, 128)
SMALL_LM = (48, 40, 3, 5, 160)


class Case:
    """The arrays of a case and the three networks, loaded strictly."""

    def __init__(self, name, folder, files, networks):
        spec = json.loads((HERE / f"{name}.json").read_text())
        stand_in.write(spec, folder)
        files = {"lm": folder / "model.pt.tar", **files}
        with np.load(HERE / f"{name}.npz") as arrays:
            self.arrays = dict(arrays)
        self.frontend, self.lm, self.vocoder = (n.eval() for n in networks)
        load_frontend(self.frontend, str(files["frontend"]))
        load_multitask_lm(self.lm, str(files["lm"]))
        load_vocoder(self.vocoder, str(files["vocoder"]))

    def wave(self, name, length=None):
        """An input in [-1, 1], perhaps cut."""
        wave = torch.from_numpy(self.arrays[name])[:length]
        return wave.float() / 32768 if wave.dtype == torch.int16 else wave

    def rows(self, wave):
        """Features as the released code has them: no row of zeros."""
        return self.frontend.extract_each([wave])[0][:-1]

    def tokens(self, mixture, reference=None, head="x"):
        """Tokens of one item."""
        return self.lm.predict_each([mixture], [reference], head)[0]

    def check(self, name, tokens):
        """Compare with the released tokens, every one."""
        expected = self.arrays[f"{name}_tokens"].tolist()
        assert tokens.tolist() == expected, name


@pytest.fixture(scope="module")
def tiny_case(tmp_path_factory, stand_in_files):
    frontend = WavLMFrontend([32] * 7, 64, 6, 4, 96, 320, 800)
    vocoder = Xcodec2Vocoder(64, 3, 2, 96, 256)
    files = {
        "frontend": stand_in_files / "WavLM-Large.pt",
        "vocoder": stand_in_files / "xcodec2.ckpt",
    }
    networks = frontend, MultitaskLM(*TINY_LM), vocoder
    return Case("g1_tiny", tmp_path_factory.mktemp("g1"), files, networks)


@pytest.fixture(scope="module")
def small_case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("g1_small")
    frontend = WavLMFrontend([28] * 7, 48, 6, 4, 96, 320, 800)
    vocoder = Xcodec2Vocoder(96, 3, 6, 144, 384)
    files = {
        "frontend": folder / "WavLM-Large.pt",
        "vocoder": folder / "xcodec2.safetensors",
    }
    networks = frontend, MultitaskLM(*SMALL_LM), vocoder
    return Case("g1_small", folder, files, networks)


def difference(ours, golden):
    return float((ours - torch.from_numpy(golden)).abs().max())


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny_case", "small_case"])
def test_tasks_of_one_pass(name, request):
    """SE, AEC and TSE: features, logits, tokens and wave."""
    case = request.getfixturevalue(name)
    mixture = case.rows(case.wave("mixture"))
    reference = case.rows(case.wave("reference"))
    assert difference(mixture, case.arrays["mixture_features"]) < 1e-4
    assert difference(reference, case.arrays["reference_features"]) < 1e-4
    for task, given, head in (
        ("se", None, "x"),
        ("aec", reference, "x"),
        ("tse", reference, "y"),
    ):
        tokens = case.tokens(mixture, given, head)
        case.check(task, tokens)
        given = None if given is None else given[None]
        logits = case.lm(mixture[None], given, head)[0, ::8, ::1024]
        assert difference(logits, case.arrays[f"{task}_logits"]) < 1e-5
        if f"{task}_enhanced" in case.arrays:
            wave = case.vocoder(tokens[None])[0]
            assert difference(wave, case.arrays[f"{task}_enhanced"]) < 1e-5
    second = case.rows(torch.from_numpy(case.arrays["se_enhanced"]))
    case.check("ss_second", case.tokens(mixture, second))


@torch.no_grad()
def test_references_longer_than_the_mixture(small_case):
    """Cut before extraction, as the readers do, or not, as the class does."""
    mixture = small_case.rows(small_case.wave("mixture"))
    count = len(small_case.arrays["mixture"])
    for name, length in (("long", count), ("long_uncut", None)):
        long = small_case.rows(small_case.wave("long_reference", length))
        small_case.check(f"tse_{name}", small_case.tokens(mixture, long, "y"))
        small_case.check(f"aec_{name}", small_case.tokens(mixture, long))


@torch.no_grad()
def test_readers_and_lost_packets(small_case):
    """Divided by the peak; both waves cut to the shorter; gaps of zeros."""
    wave = small_case.wave("mixture")
    peak = small_case.rows(wave / wave.abs().max())
    small_case.check("se_reader", small_case.tokens(peak))
    reference = small_case.wave("reference")
    cut = small_case.rows(wave[: len(reference)])
    tokens = small_case.tokens(cut, small_case.rows(reference))
    small_case.check("aec_reader", tokens)
    lossy = small_case.rows(small_case.wave("plc_mixture"))
    small_case.check("plc", small_case.tokens(lossy))


@torch.no_grad()
def test_second_passes(small_case):
    """The output fed back as floats, or through a file of 16 bits."""
    case = small_case
    mixture = case.rows(case.wave("mixture"))
    reference = case.rows(case.wave("reference"))
    floats = case.rows(torch.from_numpy(case.arrays["se_enhanced"]))
    case.check("second_pass_float", case.tokens(floats))
    written = case.rows(case.wave("se_written"))
    case.check("second_pass", case.tokens(written))
    case.check("ss_second_written", case.tokens(mixture, written))
    for task, given, head in (("aec", None, "x"), ("tse", reference, "y")):
        wave = torch.from_numpy(case.arrays[f"{task}_enhanced"])
        fed = (wave * 32768).floor().clamp(-32768, 32767) / 32768
        tokens = case.tokens(case.rows(fed), given, head)
        case.check(f"{task}_second_pass", tokens)


@torch.no_grad()
def test_a_batch_is_what_single_ones_are(small_case):
    """Of any lengths, with and without references."""
    mixture = small_case.rows(small_case.wave("mixture"))
    reference = small_case.rows(small_case.wave("reference"))
    mixtures = [mixture, mixture[:40], mixture[3:43], mixture]
    references = [reference, None, reference, None]
    batch = small_case.lm.hidden_each(mixtures, references)
    for k, rows in enumerate(batch):
        (alone,) = small_case.lm.hidden_each([mixtures[k]], [references[k]])
        assert (rows - alone).abs().max() < 1e-5


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head='z' is not known"):
        MultitaskLM(8, 8, 1, 2, 8).through("z")
