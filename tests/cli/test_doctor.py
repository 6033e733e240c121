"""The doctor: what breaks is named, what runs is said."""

import dataclasses
import re

import layouts
import pytest
import torch
from safetensors.torch import save_file

from speechbrain_llase.cli import doctor, parser as cli
from speechbrain_llase.pretrained import official
from speechbrain_llase.pretrained.convert import convert
from speechbrain_llase.pretrained.tensors import read_tensors


@pytest.fixture(scope="module")
def folder(stand_in_files, tmp_path_factory):
    """A converted folder of the case `tiny`."""
    files = {
        "wavlm": stand_in_files / "WavLM-Large.pt",
        "lm": stand_in_files / "best.pt.tar",
        "codec": stand_in_files / "xcodec2.ckpt",
    }
    output = tmp_path_factory.mktemp("doctor") / "tiny"
    convert(files, output, lm_heads=4, codec_heads=2)
    return output


def test_this_installation_is_good():
    """The set that the tests run on passes."""
    findings = list(doctor.check_packages())
    assert all(f.good for f in findings)
    assert any("transformers" in f.text for f in findings)


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("transformers", "5.12.1", "needed is >=5.13"),
        ("speechbrain", "1.2.0", "needed is <1.2,>=1.1"),
        ("torchaudio", "2.10.0", "both of one release"),
        ("soundfile", None, "soundfile is missing"),
    ],
)
def test_what_breaks_is_named(monkeypatch, name, version, message):
    """A version that does not work is a bad finding with advice."""
    real = doctor.installed
    monkeypatch.setattr(
        doctor, "installed", lambda n: version if n == name else real(n)
    )
    bad = [f.text for f in doctor.check_packages() if not f.good]
    assert len(bad) == 1 and message in bad[0]


def test_pins_of_xcodec2_are_mentioned(monkeypatch):
    """Its torch pin is why it cannot be installed normally."""
    real = doctor.installed
    monkeypatch.setattr(
        doctor, "installed", lambda n: "0.1.5" if n == "xcodec2" else real(n)
    )
    assert any("--no-deps" in f.text for f in doctor.check_packages())


def test_folder_checksums(folder, tmp_path, capsys):
    """All hold; then one file is changed and another is gone."""
    assert all(f.good for f in doctor.check_folder(folder))
    assert cli.main(["doctor", str(folder), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "checksum holds" in said and "one second of noise" in said
    with open(folder / "vocoder.ckpt", "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    (folder / "token_lm.ckpt").rename(tmp_path / "away")
    bad = [f.text for f in doctor.check_folder(folder) if not f.good]
    assert len(bad) == 2
    assert "token_lm.ckpt is missing" in bad[0] and "was changed" in bad[1]
    assert cli.main(["doctor", str(folder), "--device", "cpu"]) == 1
    assert "does not load" in capsys.readouterr().out


def test_no_model(tmp_path, capsys):
    """An empty folder, and a name that nobody knows."""
    assert cli.main(["doctor", str(tmp_path), "--device", "cpu"]) == 1
    assert "no hyperparams.yaml" in capsys.readouterr().out
    assert cli.main(["doctor", "nothing"]) == 2
    assert "There is no model" in capsys.readouterr().err


FILES = {**layouts.ON_HUB, "WavLM-Large.pt": "WavLM-Large.pt"}
NOT_USED = {  # of the case `tiny`: 2 and 2 layers that are not run
    "microsoft/wavlm-large/pytorch_model.bin": "41 tensors: encoder (40), mas",
    "WavLM-Large.pt": "41 tensors: encoder (40), mask_emb (1)",
    "BeauKang01/LLaSE/best.pt.tar": "2 tensors: lm (2)",
    "HKUSTAudio/xcodec2-hf/model.safetensors": "1 tensors: semantic_encoder",
    "HKUSTAudio/xcodec2/model.safetensors": "CodecEnc (72), semantic_model (6",
    "HKUSTAudio/xcodec2/ckpt/epoch=4-step=1400000.ckpt": "criteria (1)",
    "facebook/w2v-bert-2.0/model.safetensors": "65 tensors: encoder (64)",
}


@pytest.mark.parametrize("name", FILES)
def test_official_file(official_files, capsys, name):
    """Which one it is, by its tensors, and what of it is used."""
    path = official_files / FILES[name]
    assert cli.main(["doctor", str(path)]) == 0
    said = capsys.readouterr().out
    assert "BAD" not in said
    assert f"has the tensors of {name}\n" in said
    assert "all that it needs" in said
    assert NOT_USED[name] in said.partition("not used: ")[2]
    if name.endswith("epoch=4-step=1400000.ckpt"):
        assert "the published size is unknown" in said
        assert "not run: objects of" in said
    else:
        (warned,) = re.findall(r"^warn .*", said, re.MULTILINE)
        assert "another version than the one that this was" in warned
    networks = {"HKUSTAudio": 3}.get(name.partition("/")[0], 1)
    assert said.count("all that it needs") == networks


def test_size_as_published(official_files, capsys, monkeypatch):
    """The bytes are compared with those that are known."""
    path = official_files / layouts.WAVLM[1]
    size = path.stat().st_size
    monkeypatch.setattr(
        "speechbrain_llase.pretrained.official.FILES",
        [dataclasses.replace(official.FILES[0], size=size)],
    )
    assert cli.main(["doctor", str(path)]) == 0
    assert f"{size:,} bytes, as published" in capsys.readouterr().out


def write_bad(kind, good, path):
    """Write a file with which something is wrong."""
    content = good.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "page":
        path.write_text("<!doctype html><title>Not found</title>")
    elif kind == "other":
        save_file({"a": torch.zeros(1)}, path)
    else:
        weights = read_tensors(str(good))
        if kind == "unknown":
            weights["module.ema"] = torch.zeros(1)
        elif kind == "missing":
            del weights["module.adaLN.norm.bias"]
        else:
            weights["module.audio_linear_x.weight"] = weights.pop(
                "module.audio_linear.weight"
            )
        torch.save({"model_state_dict": weights}, path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "is damaged, perhaps a download that broke off"),
        ("page", "A web page saved in its place?"),
        ("other", "is like none of the official files; it has 1 tensors: a"),
        ("unknown", "does not fit. unknown: module.ema"),
        ("missing", "does not fit. missing: stage_norm.norm.bias"),
        ("G1", "token_lm: The file is no multi-task LM"),
    ],
)
def test_wrong_file(official_files, tmp_path, capsys, kind, message):
    """A line says what is wrong."""
    write_bad(kind, official_files / "best.pt.tar", tmp_path / "lm.pt")
    assert cli.main(["doctor", str(tmp_path / "lm.pt")]) == 1
    (bad,) = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("BAD")
    ]
    assert message in bad


def test_missing_file(capsys):
    """A file's name is not taken for a model's."""
    assert cli.main(["doctor", "missing.pt"]) == 2
    said = capsys.readouterr().err
    assert "no file missing.pt" in said and "no model" not in said
