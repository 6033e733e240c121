"""The doctor: what breaks is named, what runs is said."""

import dataclasses
import importlib
import re

import layouts
import pytest
import torch
from safetensors.torch import save_file

from speechbrain_llase import EnhanceLLaSE
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


@pytest.fixture
def pretend(monkeypatch):
    """A function that sets the version that a package seems to have."""
    real = doctor.installed

    def pretend(name, version):
        monkeypatch.setattr(
            doctor, "installed", lambda n: version if n == name else real(n)
        )

    return pretend


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("transformers", "5.12.1", "5.12.1, tried is >=5.13"),
        ("speechbrain", "1.2.0", "1.2.0, tried is <1.2,>=1.1"),
        ("torchaudio", "2.10.0", None),  # whatever torch is here
        ("torch", "2.15.1", None),
    ],
)
def test_what_works_is_good_whatever_its_version(
    pretend, name, version, message
):
    """A version that was not tried deserves a look, no more."""
    pretend(name, version)
    findings = list(doctor.check_packages())
    assert all(f.good for f in findings)
    warned = [f.text for f in findings if f.is_warning]
    assert len(warned) == bool(message)
    assert not message or message in warned[0]


def test_what_is_missing_is_named(pretend):
    pretend("soundfile", None)
    bad = [f.text for f in doctor.check_packages() if not f.good]
    assert bad == ["soundfile is missing: pip install soundfile"]


def test_what_does_not_load_is_named(monkeypatch):
    """As torchaudio does beside a torch that it was not built for."""
    real = doctor.importlib.import_module

    def load(name):
        if name == "torchaudio":
            raise OSError("undefined symbol")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", load)
    (bad,) = [f.text for f in doctor.check_packages() if not f.good]
    version = doctor.installed("torchaudio")
    assert bad.startswith(f"torchaudio {version} does not load beside torch ")
    assert "(OSError: undefined symbol): install another version" in bad


@pytest.mark.parametrize(
    ("module", "name", "stand_in", "message"),
    [
        ("torchaudio.functional", "melscale_fbanks", None, "mel bands fails"),
        ("soundfile", "read", lambda *_, **__: ([0.0], 16000), "other samples"),
    ],
)
def test_what_is_used_is_tried(monkeypatch, module, name, stand_in, message):
    monkeypatch.setattr(importlib.import_module(module), name, stand_in)
    (bad,) = [f.text for f in doctor.check_packages() if not f.good]
    assert message in bad


def test_a_model_that_fails_is_bad(monkeypatch):
    """Whatever the error is: no traceback, and the exit code says it."""

    def fail(*_, **__):
        raise AttributeError("no such layer")

    monkeypatch.setattr(EnhanceLLaSE, "enhance_batch", fail)
    *_, last = doctor.check_run("llase_mini", "cpu", "fp32")
    assert str(last) == (
        "BAD  the self-test fails: AttributeError: no such layer"
    )
    monkeypatch.setattr(EnhanceLLaSE, "from_hparams", fail)
    *_, last = doctor.check_run("llase_mini", "cpu", "fp32")
    assert not last.good and "does not load: AttributeError" in last.text


def test_pins_of_xcodec2_are_mentioned(pretend):
    """Its torch pin is why it cannot be installed normally."""
    pretend("xcodec2", "0.1.5")
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
