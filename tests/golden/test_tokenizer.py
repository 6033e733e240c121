"""The encoding half against the xcodec2 package's tokens, case `tiny`."""

import json
from pathlib import Path

import layouts
import pytest
import torch
from safetensors.torch import save_file

from speechbrain_llase.lobes.xcodec2_tokenizer import (
    CodecEncoder,
    SemanticEncoder,
    Xcodec2Tokenizer,
)
from speechbrain_llase.pretrained.loading import (
    load_codec_encoder,
    load_semantic_encoder,
)
from speechbrain_llase.processing.framing import num_rows


@pytest.fixture(scope="module")
def tokenizer(stand_in_files) -> Xcodec2Tokenizer:
    """The case's tokenizer from its official files."""
    case = json.loads((Path(__file__).parent / "tiny.json").read_text())
    heads = case["w2v_bert_cfg"]["num_attention_heads"]
    semantic, codec = (
        SemanticEncoder(32, 16, heads, 64),
        CodecEncoder(64, 32, 8),
    )
    load_semantic_encoder(
        semantic, str(stand_in_files / "w2v_bert.safetensors")
    )
    load_codec_encoder(codec, str(stand_in_files / "xcodec2.ckpt"))
    return Xcodec2Tokenizer(semantic, codec).eval()


def test_tokens_are_exact(tokenizer, golden):
    """All 201 tokens; a batch of equal lengths gives the same."""
    wav = torch.from_numpy(golden["noisy"]).float() / 32768
    tokens = tokenizer.encode(torch.stack([wav, wav.flip(0)]))
    assert len(golden["codec_tokens"]) == 201
    assert tokens[0].tolist() == golden["codec_tokens"].tolist()


@pytest.mark.parametrize("rest", [0, 79, 80, 319])
def test_one_token_may_have_no_row(tokenizer, rest):
    """The codec gives floor(T / 320) + 1; targets are as many as rows."""
    wavs = torch.rand(1, 8000 + rest) - 0.5
    tokens, targets = tokenizer.encode(wavs), tokenizer(wavs)
    assert tokens.shape == (1, 26)
    assert targets.shape == (1, num_rows(8000 + rest))
    assert targets.shape == (1, 25 if rest < 80 else 26)
    assert torch.equal(targets, tokens[:, : targets.shape[1]])


def test_resynthesis(tokenizer, tiny, golden):
    """Their wave is the golden one to 1e-5."""
    tokens = torch.from_numpy(golden["codec_tokens"]).long()[None]
    expected = torch.from_numpy(golden["codec_resynthesis"])
    with torch.no_grad():
        wav = tiny.mods.vocoder(tokens)[0]
    assert (wav - expected).abs().max() < 1e-5


def test_frozen(tokenizer):
    """Training modes do not reach w2v-BERT."""
    tokenizer.train()
    assert not tokenizer.semantic_encoder.bert.training
    tokenizer.eval()


def test_too_short(tokenizer):
    """No token fits in under 25 ms."""
    with pytest.raises(ValueError, match="399 samples"):
        tokenizer(torch.rand(1, 399))


@pytest.mark.parametrize("name", [*layouts.CODEC[1:], layouts.SAVED_AGAIN])
def test_one_file(tokenizer, official_files, name):
    """Both halves load from one file, with transformers' and other keys."""
    path = str(official_files / name)
    semantic, codec = SemanticEncoder(32, 16, 4, 64), CodecEncoder(64, 32, 8)
    load_semantic_encoder(semantic, path)
    load_codec_encoder(codec, path)
    wavs = torch.rand(1, 8000) - 0.5
    ours = Xcodec2Tokenizer(semantic, codec).eval()(wavs)
    assert torch.equal(ours, tokenizer(wavs))


def test_wrong_half(tokenizer, stand_in_files, tmp_path):
    """A decoder alone does not pass for an encoder."""
    path = tmp_path / "decoder.safetensors"
    save_file({"acoustic_decoder.fc.bias": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="missing: acoustic_encoder"):
        load_codec_encoder(CodecEncoder(64, 32, 8), str(path))
