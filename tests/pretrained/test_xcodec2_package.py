"""The xcodec2 package as the vocoder: the same weights, the same wave.

Most of it needs that package: `make test-xcodec2`.
"""

import importlib.util
import sys

import layouts
import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained.convert import convert
from speechbrain_llase.pretrained.loading import load_vocoder
from speechbrain_llase.pretrained.xcodec2_package import Xcodec2PackageVocoder

DIMENSIONS = (64, 3, 2, 96, 256)
TOLERANCE = 1e-5

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("xcodec2") is None,
    reason="needs the package xcodec2: run make test-xcodec2",
)


@pytest.fixture
def files(official_files):
    """The stand-in files in every layout."""
    return official_files


@pytest.fixture(params=[*layouts.CODEC, layouts.SAVED_AGAIN])
def pair(request, files):
    """Ours and theirs, loaded from the same file, of each layout."""
    pair = Xcodec2Vocoder(*DIMENSIONS), Xcodec2PackageVocoder(*DIMENSIONS)
    for vocoder in pair:
        load_vocoder(vocoder.eval(), str(files / request.param))
    return pair


@pytest.mark.xcodec2
@needs_package
@torch.no_grad()
def test_same_tokens_same_wave(pair, golden):
    """The golden tokens and random ones, alone and in a batch."""
    ours, theirs = pair
    tokens = torch.from_numpy(golden["tokens"]).long()[None]
    expected = torch.from_numpy(golden["enhanced"])
    assert (theirs(tokens)[0] - expected).abs().max() < TOLERANCE
    rng = torch.Generator().manual_seed(0)
    # Not one token alone: at this width, the group norms would divide by the
    # deviation of two values, and rounding shows in any two programs.
    for shape in ((1, 4), (3, 50), (2, 333)):
        tokens = torch.randint(65536, shape, generator=rng)
        wavs = theirs(tokens)
        assert wavs.shape == (shape[0], 320 * shape[1])
        assert wavs.abs().max() > 1e-3
        assert (ours(tokens) - wavs).abs().max() < TOLERANCE


@pytest.mark.xcodec2
@needs_package
@torch.no_grad()
def test_same_interface(pair):
    """Codes between the levels, items of any lengths, no tokens, bad ones."""
    ours, theirs = pair
    rng = torch.Generator().manual_seed(0)
    codes = torch.rand(2, 20, 8, generator=rng) * 1.5 - 1
    difference = ours.decode_codes(codes) - theirs.decode_codes(codes)
    assert difference.abs().max() < TOLERANCE
    tokens = [torch.randint(65536, (n,), generator=rng) for n in (7, 30, 4)]
    for one, other in zip(
        ours.decode_each(tokens), theirs.decode_each(tokens), strict=True
    ):
        assert one.shape == other.shape
        assert (one - other).abs().max() < TOLERANCE
    assert theirs(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0)
    with pytest.raises(ValueError, match="65536"):
        theirs(torch.tensor([[65536]]))
    assert ours.hop_length == theirs.hop_length


@pytest.mark.xcodec2
@needs_package
def test_one_line_of_the_yaml(files, tmp_path, golden):
    """A converted folder runs on the package after one line is changed."""
    official = {"wavlm": files / "WavLM-Large.pt", "lm": files / "best.pt.tar"}
    official["codec"] = files / layouts.CODEC[1]
    convert(official, tmp_path / "x", "float32", 4, 2)
    yaml = tmp_path / "x" / "hyperparams.yaml"
    line = "!new:speechbrain_llase.lobes.xcodec2_vocoder.Xcodec2Vocoder"
    other = "!new:speechbrain_llase.pretrained.xcodec2_package.Xcodec2PackageVocoder"
    text = yaml.read_text()
    assert text.count(line) == 1
    yaml.write_text(text.replace(line, other))
    model = EnhanceLLaSE.from_hparams(
        tmp_path / "x",
        overrides={"restore_level": False},
        run_opts={"device": "cpu"},
    )
    assert isinstance(model.mods.vocoder, Xcodec2PackageVocoder)
    noisy = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    enhanced = model.enhance_batch(noisy)[0]
    expected = torch.from_numpy(golden["enhanced"])[: noisy.shape[1]]
    assert (enhanced - expected).abs().max() < TOLERANCE


@pytest.mark.xcodec2
@needs_package
def test_strict(files):
    """A file without the decoding half is refused, nothing is left random."""
    theirs = Xcodec2PackageVocoder(*DIMENSIONS)
    before = theirs.fc_post_a.weight.clone()
    with pytest.raises(ValueError, match=r"missing: fc_post_a\.bias"):
        load_vocoder(theirs, str(files / "w2v_bert.safetensors"))
    assert torch.equal(theirs.fc_post_a.weight, before)


def test_without_the_package(monkeypatch):
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "xcodec2", None)
    monkeypatch.delitem(
        sys.modules, "xcodec2.vq.codec_decoder_vocos", raising=False
    )
    with pytest.raises(ImportError, match=r"pip install --no-deps xcodec2"):
        Xcodec2PackageVocoder(*DIMENSIONS)


def test_what_the_package_cannot():
    """It builds four times the width, and runs in float32 alone."""
    with pytest.raises(ValueError, match="runs in float32"):
        Xcodec2PackageVocoder(*DIMENSIONS, compute="bfloat16")
    with pytest.raises(ValueError, match=r"4 \* hidden_size = 256"):
        Xcodec2PackageVocoder(64, 3, 2, 96, 128)
