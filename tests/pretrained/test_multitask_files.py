"""LLaSE-G1's file: told apart by content, converted, downloaded, checked."""

import json

import hub_server
import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.pretrained import official
from speechbrain_llase.pretrained.tensors import read_tensors

HEADS = ["--lm-heads", "5", "--codec-heads", "6"]
SIZES = {  # of the case g1_small, over those of hparams/llase_g1
    "frontend": {"conv_dim": [28] * 7, "hidden_size": 48, "num_heads": 4}
    | {"ffn_size": 96},
    "token_lm": {"input_size": 48, "d_model": 40, "num_layers": 3}
    | {"num_heads": 5, "ffn_size": 160},
    "vocoder": {"hidden_size": 96, "num_layers": 3, "num_heads": 6}
    | {"quantization_dim": 144, "ffn_size": 384},
}


def check_golden(model, g1_arrays) -> None:
    """The released reader's tokens come out, and as many as its rows."""
    mixture = torch.from_numpy(g1_arrays["mixture"]).float()[None] / 32768
    tokens = model.predict_tokens(mixture)
    assert tokens[0].tolist() == g1_arrays["se_reader_tokens"].tolist()
    assert model.enhance_batch(mixture).shape == mixture.shape


def test_converted_folder_enhances(g1_folder, g1_arrays):
    """The opening class takes it as it takes `llase`."""
    model = EnhanceLLaSE.from_hparams(
        g1_folder, overrides={"window_s": 30.0}, run_opts={"device": "cpu"}
    )
    assert isinstance(model.mods.token_lm, MultitaskLM)
    check_golden(model, g1_arrays)
    manifest = json.loads((g1_folder / "manifest.json").read_text())
    assert "Apache-2.0" in manifest["sources"]["lm"]["licence"]
    assert "NC" in manifest["sources"]["codec"]["licence"]


def test_packaged_settings_take_official_files(g1_files, g1_arrays):
    """`llase_g1` loads the files as they are published."""
    paths = {f"{part}_file": str(file) for part, file in g1_files.items()}
    model = EnhanceLLaSE.from_hparams(
        "llase_g1", overrides={**paths, **SIZES}, run_opts={"device": "cpu"}
    )
    check_golden(model, g1_arrays)


@pytest.mark.parametrize("compute", ["bfloat16", "int8"])
def test_half_precision(g1_files, tmp_path, g1_arrays, compute):
    """Half the size; most tokens stay."""
    folder = tmp_path / "g1"
    options = [str(x) for k, v in g1_files.items() for x in (f"--{k}", v)]
    assert main(["convert", *options, *HEADS, "--output", str(folder)]) == 0
    size = sum(file.stat().st_size for file in folder.glob("*.ckpt"))
    model = EnhanceLLaSE.from_hparams(
        folder,
        overrides={"compute": compute, "window_s": 30.0},
        run_opts={"device": "cpu"},
    )
    weights = sum(p.numel() for p in model.mods.parameters())
    assert compute == "int8" or size < 2.2 * weights
    mixture = torch.from_numpy(g1_arrays["mixture"]).float()[None] / 32768
    expected = torch.from_numpy(g1_arrays["se_reader_tokens"])
    same = model.predict_tokens(mixture)[0] == expected
    assert same.float().mean() > 0.9


@pytest.mark.parametrize("name", ["ckpt/model.pt.tar", "model.pt.tar"])
def test_download(g1_files, g1_arrays, tmp_path, capsys, name):
    """From the folder that its script asks for, or from the top."""
    on_hub = {
        str(source): g1_files[source.part]
        for source in official.MODELS["llase_g1"]
    }
    lm = next(place for place in on_hub if "ASLP-lab" in place)
    on_hub[f"ASLP-lab/LLaSE-G1/{name}"] = on_hub.pop(lm)
    folder = tmp_path / "g1"
    command = ["download", "llase_g1", "--output", str(folder), *HEADS]
    command += ["--dtype", "float32", "--accept-licences"]
    with hub_server.serve(on_hub) as hub:
        assert main([*command, "--endpoint", hub.endpoint]) == 0
    said = capsys.readouterr().out
    assert "CC-BY-NC-4.0" in said and "Apache-2.0" in said
    check_golden(EnhanceLLaSE.from_hparams(folder), g1_arrays)


def test_a_file_that_is_nowhere(g1_files, tmp_path, capsys):
    """Both places were asked; the second one is named."""
    on_hub = {"microsoft/wavlm-large/pytorch_model.bin": g1_files["wavlm"]}
    command = ["download", "llase_g1", "--output", str(tmp_path / "g1")]
    with hub_server.serve(on_hub) as hub:
        command += ["--endpoint", hub.endpoint, "--accept-licences"]
        assert main(command) == 1
        asked = [path for _, path, _ in hub.log if "G1" in path]
    assert [path.partition("main/")[2] for path in asked] == [
        "ckpt/model.pt.tar",
        "model.pt.tar",
    ]
    assert "model.pt.tar is not there (HTTP 404)" in capsys.readouterr().err


def test_doctor_knows_the_file(g1_files, tmp_path, capsys):
    """What it is, what is used of it, and what is missing."""
    assert main(["doctor", str(g1_files["lm"])]) == 0
    said = capsys.readouterr().out
    assert "has the tensors of ASLP-lab/LLaSE-G1/ckpt/model.pt.tar" in said
    assert "token_lm (for enhancement)" in said
    assert "not used: 2 tensors: llama (2)" in said
    weights = read_tensors(str(g1_files["lm"]))
    del weights["module.predict_layer_y.bias"]
    path = tmp_path / "model.pt.tar"
    torch.save({"model_state_dict": weights}, path)
    assert main(["doctor", str(path)]) == 1
    assert "missing: predict_layer_y.bias" in capsys.readouterr().out


def test_weights_of_the_official_file():
    """As many as its published size says, with the unused vocabulary."""
    lm = official.ON_HUB["ASLP-lab/LLaSE-G1/ckpt/model.pt.tar"]
    unused = 2 * 32000 * 2048
    stored = 4 * (official.WEIGHTS[lm.kind] + unused)
    assert not lm.differs(stored) and not lm.differs(stored + 100_000)
    assert lm.differs(stored // 2) and lm.differs(stored + 4 * unused)
