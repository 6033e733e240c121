"""Every published layout, from disk, through from_hparams("llase")."""

import itertools
from pathlib import Path

import layouts
import pytest
import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2BertConfig, WavLMConfig, WavLMModel
from transformers.models.xcodec2 import Xcodec2Config, Xcodec2Model

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.xcodec2_tokenizer import SemanticEncoder
from speechbrain_llase.pretrained.convert import convert
from speechbrain_llase.pretrained.loading import load_semantic_encoder
from speechbrain_llase.pretrained.tensors import open_tensors, read_tensors

DIMENSIONS = {
    "frontend": {"conv_dim": [32] * 7, "hidden_size": 64, "num_heads": 4}
    | {"ffn_size": 96},
    "token_lm": {"input_size": 64, "d_model": 48, "num_layers": 3}
    | {"num_heads": 4, "ffn_size": 192},
    "vocoder": {"hidden_size": 64, "num_layers": 3, "num_heads": 2}
    | {"quantization_dim": 96, "ffn_size": 256},
}


@pytest.fixture
def files(official_files) -> Path:
    """A folder with every layout."""
    return official_files


def load(folder: Path, **names: str) -> EnhanceLLaSE:
    """The packaged `llase` with files of a folder and tiny dimensions."""
    wanted = {"wavlm": layouts.WAVLM[0], "lm": "best.pt.tar"}
    wanted |= {"codec": layouts.CODEC[0]} | names
    paths = {
        f"{part}_file": str(folder / name) for part, name in wanted.items()
    }
    return EnhanceLLaSE.from_hparams(
        "llase",
        overrides={**paths, **DIMENSIONS, "restore_level": False},
        run_opts={"device": "cpu"},
    )


def check_golden(model: EnhanceLLaSE, golden) -> None:
    """The released code's tokens and wave come out."""
    noisy = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    assert model.predict_tokens(noisy)[0].tolist() == golden["tokens"].tolist()
    expected = torch.from_numpy(golden["enhanced"])[: noisy.shape[1]]
    assert (model.enhance_batch(noisy)[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("wavlm", layouts.WAVLM)
def test_wavlm_layouts(files, golden, wavlm):
    """unilm's and Hugging Face's."""
    check_golden(load(files, wavlm=wavlm), golden)


@pytest.mark.parametrize("codec", [*layouts.CODEC[1:], layouts.SAVED_AGAIN])
def test_codec_layouts(files, golden, codec):
    """transformers' and the package's safetensors; above, the checkpoint."""
    check_golden(load(files, codec=codec), golden)


def test_names_do_not_matter(files, golden, tmp_path):
    """Layouts are recognised by content, through links too."""
    for part, name in (
        ("a", layouts.WAVLM[1]),
        ("b.safetensors", "best.pt.tar"),
        ("c.pt", layouts.CODEC[1]),
    ):
        (tmp_path / part).symlink_to(files / name)
    model = load(tmp_path, wavlm="a", lm="b.safetensors", codec="c.pt")
    check_golden(model, golden)
    assert all(path.is_symlink() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "codec, wavlm",
    [
        *zip(
            [*layouts.CODEC, layouts.SAVED_AGAIN],
            itertools.cycle(layouts.WAVLM),
        )
    ],
)
def test_dimensions_are_read_from_every_layout(files, tmp_path, codec, wavlm):
    """A folder converted from any of them holds the same tensors."""
    named = {"lm": files / "best.pt.tar"}
    named |= {"wavlm": files / wavlm, "codec": files / codec}
    alone = codec == layouts.CODEC[0]  # the others are tried as they are
    named["w2v_bert"] = files / ("w2v_bert.safetensors" if alone else codec)
    manifest = convert(named, tmp_path / "x", "float32", 4, 2)
    for module, dims in DIMENSIONS.items():
        assert manifest["dimensions"][module].items() >= dims.items()
    for module in ("frontend", "vocoder", "codec_encoder", "semantic_encoder"):
        path = tmp_path / "x" / f"{module}.ckpt"
        total = sum(t.double().sum() for t in read_tensors(str(path)).values())
        assert float(total) == pytest.approx(
            SUMS.setdefault(module, float(total))
        )


SUMS = {}  # of each module's weights, from the first layout that was converted


def test_keys_are_those_of_transformers(files):
    """What layouts.py writes has the keys that transformers' classes have."""
    wavlm = WavLMConfig(
        hidden_size=64,
        num_hidden_layers=8,
        num_attention_heads=4,
        intermediate_size=96,
        conv_dim=[32] * 7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    wanted = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )
        for key in WavLMModel(wavlm).state_dict()
    }
    assert set(open_tensors(str(files / layouts.WAVLM[1]))) == wanted
    semantic = Wav2Vec2BertConfig(
        hidden_size=32,
        num_hidden_layers=16,
        num_attention_heads=4,
        intermediate_size=64,
        apply_spec_augment=False,
    )
    codec = Xcodec2Config(
        hidden_size=64,
        encoder_hidden_size=8,
        quantization_dim=96,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=256,
        semantic_model_config=semantic.to_dict(),
    )
    wanted = Xcodec2Model(codec).state_dict()
    found = open_tensors(str(files / layouts.CODEC[1]))
    assert {k: v.shape for k, v in found.items()} == {
        k: v.shape for k, v in wanted.items()
    }


@pytest.mark.parametrize("codec", layouts.CODEC[1:])
def test_encoder_alone_is_no_vocoder(files, tmp_path, codec):
    """The wrong half is refused, and what is missing named."""
    tensors = read_tensors(str(files / codec))
    half = {
        key: tensor.clone()
        for key, tensor in tensors.items()
        if not key.startswith(("acoustic_decoder", "generator", "fc_post_a"))
    }
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(ValueError, match=r"missing: decoder\.embed"):
        load(files, codec=str(tmp_path / "half.safetensors"))


def test_other_model_sizes_are_refused(files):
    """Both shapes are named: the file's and the YAML's."""
    paths = {"wavlm_file": str(files / layouts.WAVLM[0])}
    paths |= {"lm_file": str(files / "best.pt.tar")}
    paths |= {"codec_file": str(files / layouts.CODEC[0])}
    kinds = ("WavLMFrontend", "TokenLM", "Xcodec2Vocoder")
    for module, kind in zip(DIMENSIONS, kinds, strict=True):
        others = {m: d for m, d in DIMENSIONS.items() if m != module}
        with pytest.raises(ValueError) as error:
            EnhanceLLaSE.from_hparams("llase", overrides={**paths, **others})
        assert f"does not fit {kind}." in str(error.value)
        assert ", the YAML says (" in str(error.value)


def test_w2v_bert_out_of_the_package_file(files):
    """The package's file holds w2v-BERT under a name of its own."""
    ours, theirs = (
        SemanticEncoder(32, 16, 4, 64),
        SemanticEncoder(32, 16, 4, 64),
    )
    load_semantic_encoder(ours, str(files / "w2v_bert.safetensors"))
    load_semantic_encoder(theirs, str(files / layouts.CODEC[2]))
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[key]), key
