"""Conversion: exact, verified, and all or nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from speechbrain.utils.fetching import FetchConfig

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.xcodec2_tokenizer import load_tokenizer
from speechbrain_llase.pretrained.convert import convert, sha256
from speechbrain_llase.pretrained.dimensions import parse_layers

HEADS = {"lm_heads": 4, "codec_heads": 2}


@pytest.fixture(scope="module")
def files(stand_in_files) -> dict[str, Path]:
    """The official files of the case `tiny`."""
    return {
        "wavlm": stand_in_files / "WavLM-Large.pt",
        "lm": stand_in_files / "best.pt.tar",
        "codec": stand_in_files / "xcodec2.ckpt",
    }


def golden_wave(golden) -> torch.Tensor:
    """The golden case's noisy wave (1, T)."""
    return torch.from_numpy(golden["noisy"]).float()[None] / 32768


def test_float32_is_exact_and_offline(files, tmp_path, golden):
    """The golden tokens come out of the converted folder, in a new process."""
    folder = tmp_path / "models" / "tiny"
    manifest = convert(files, folder, "float32", **HEADS)
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["sources"]["lm"]["sha256"] == sha256(files["lm"])
    for name, about in manifest["files"].items():
        assert about["sha256"] == sha256(folder / name)
        modes = {path.stat().st_mode for path in folder.iterdir()}
        assert len(modes) == 1, "who reads the YAML may read the weights"
    assert "NC" in manifest["sources"]["codec"]["licence"]
    noisy = golden_wave(golden)
    torch.save(noisy, tmp_path / "noisy.pt")
    code = (
        "import torch; from speechbrain_llase import EnhanceLLaSE\n"
        f"m = EnhanceLLaSE.from_hparams({str(folder)!r})\n"
        f"t = m.predict_tokens(torch.load({str(tmp_path / 'noisy.pt')!r}))\n"
        "print(t[0].tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    tokens = json.loads(run.stdout.splitlines()[-1])
    assert tokens == golden["tokens"].tolist()
    # nothing but the folder was written
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["tiny"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(files, tmp_path, golden, dtype):
    """Half the size; most tokens stay."""
    folder = tmp_path / "tiny"
    convert(files, folder, dtype, **HEADS)
    model = EnhanceLLaSE.from_hparams(
        folder, fetch_config=FetchConfig(allow_network=False)
    )
    tokens = model.predict_tokens(golden_wave(golden))[0]
    same = tokens == torch.from_numpy(golden["tokens"])
    assert same.float().mean() > 0.8
    weights = sum(p.numel() for p in model.mods.parameters())
    size = sum(path.stat().st_size for path in folder.glob("*.ckpt"))
    assert size < 2.2 * weights


def test_encoding_half(files, stand_in_files, tmp_path, golden):
    """With w2v-BERT, the golden codec tokens come out of the folder."""
    files = {**files, "w2v_bert": stand_in_files / "w2v_bert.safetensors"}
    convert(files, tmp_path / "tiny", "float32", **HEADS)
    tokenizer = load_tokenizer(str(tmp_path / "tiny"))
    tokens = tokenizer.encode(golden_wave(golden))[0]
    assert tokens.tolist() == golden["codec_tokens"].tolist()


def test_heads_are_required_at_other_widths(files, tmp_path):
    """No tensor tells; a wrong number would load."""
    for heads, option in (
        ({}, "--lm-heads"),
        ({"lm_heads": 4}, "--codec-heads"),
        ({"lm_heads": 5}, "--lm-heads 5 does not fit the width 48"),
    ):
        with pytest.raises(ValueError, match=option):
            convert(files, tmp_path / "tiny", **heads)
    assert not list(tmp_path.iterdir())


def test_existing_output_is_refused(files, tmp_path):
    """What lies there stays; an empty folder is used."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new or an empty"):
        convert(files, tmp_path / "full", **HEADS)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    convert(files, tmp_path / "empty", **HEADS)
    assert (tmp_path / "empty" / "hyperparams.yaml").exists()


def test_full_disk_leaves_nothing(files, tmp_path, monkeypatch):
    """A conversion that breaks off leaves no folder at all."""

    def fill(tensors, path, *_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("speechbrain_llase.pretrained.convert.save_file", fill)
    with pytest.raises(OSError, match="No space left"):
        convert(files, tmp_path / "tiny", **HEADS)
    assert not list(tmp_path.iterdir())


def test_verification_notices(files, tmp_path, monkeypatch):
    """A weight that was written wrongly is found before the move."""

    def spoil(tensors, path, *_):
        key = sorted(k for k, t in tensors.items() if t.is_floating_point())[0]
        save_file({**tensors, key: tensors[key] + 1}, path)

    monkeypatch.setattr("speechbrain_llase.pretrained.convert.save_file", spoil)
    with pytest.raises(ValueError, match="was not written correctly"):
        convert(files, tmp_path / "tiny", **HEADS)
    assert not list(tmp_path.iterdir())


def test_swapped_and_wrong_files(files, tmp_path):
    """The LM's file as WavLM, a half without decoder, a layer too many."""
    with pytest.raises(ValueError, match="is no WavLM"):
        convert({**files, "wavlm": files["lm"]}, tmp_path / "x", **HEADS)
    half = tmp_path / "encoder.safetensors"
    save_file({"acoustic_encoder.conv1.bias": torch.zeros(8)}, half)
    with pytest.raises(ValueError, match="is no Xcodec2"):
        convert({**files, "codec": half}, tmp_path / "x", **HEADS)
    with pytest.raises(ValueError, match="the file has 8 layers"):
        convert(files, tmp_path / "x", layer=9, **HEADS)


def test_too_large_for_float16(files, tmp_path):
    """A weight out of range is named, not written as infinite."""
    loaded = torch.load(files["lm"], weights_only=True)
    loaded["model_state_dict"]["module.predict_layer.bias"][0] = 1e6
    path = tmp_path / "lm.pt"
    torch.save(loaded, path)
    with pytest.raises(ValueError, match=r"predict_layer\.bias .* float16"):
        convert({**files, "lm": path}, tmp_path / "x", "float16", **HEADS)


def test_layers_are_parsed_not_evaluated(tmp_path):
    """Python text that wants more than a list is refused and does not run."""
    text = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    assert len(parse_layers(text)) == 7
    trap = f"[__import__('os').mkdir({str(tmp_path / 'sprung')!r})]"
    for bad in (trap, "[(1,2)]", "7", "[(1,2,3)] * 10**9", "(", "[(1,2,'a')]"):
        with pytest.raises(ValueError, match="conv_feature_layers is"):
            parse_layers(bad)
    assert not (tmp_path / "sprung").exists()


def test_other_convolutions_are_refused(files, tmp_path):
    """A WavLM with other strides would load and hear nonsense."""
    loaded = torch.load(files["wavlm"], weights_only=True)
    loaded["cfg"]["conv_feature_layers"] = "[(32,10,4)] + [(32,3,2)] * 6"
    path = tmp_path / "wavlm.pt"
    torch.save(loaded, path)
    with pytest.raises(ValueError, match="kernel, stride"):
        convert({**files, "wavlm": path}, tmp_path / "x", **HEADS)
