"""The three modules alone: shapes, masks, causality, digits."""

import pytest
import torch
from transformers import LlamaConfig, LlamaModel, WavLMConfig, WavLMModel
from transformers.models.wavlm.modeling_wavlm import WavLMAttention
from transformers.models.xcodec2 import Xcodec2Config
from transformers.models.xcodec2.modeling_xcodec2 import Xcodec2Decoder

from speechbrain_llase.lobes.llama import build_llama, run_llama
from speechbrain_llase.lobes.token_lm import (
    CLASSES,
    TokenLM,
    largest_of,
    sinusoid,
)
from speechbrain_llase.lobes.wavlm import bucket_of
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2 import build_decoder, run_decoder
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.nnet.fsq import (
    VOCAB_SIZE,
    codes_to_levels,
    levels_to_codes,
    levels_to_tokens,
    quantise,
    tokens_to_levels,
)
from speechbrain_llase.processing.framing import num_rows


@pytest.fixture(scope="module")
def frontend() -> WavLMFrontend:
    """A tiny frontend in eval mode."""
    torch.manual_seed(0)
    return WavLMFrontend([8] * 7, 32, 2, 2, 64, 320, 800).eval()


@pytest.fixture(scope="module")
def token_lm() -> TokenLM:
    """A tiny LM with digit heads in eval mode."""
    torch.manual_seed(0)
    return TokenLM(32, 16, 2, 2, 32, head="digits").eval()


@pytest.fixture(scope="module")
def vocoder() -> Xcodec2Vocoder:
    """A tiny vocoder in eval mode."""
    torch.manual_seed(0)
    return Xcodec2Vocoder(32, 1, 2, 48, 64).eval()


def test_fsq_round_trip_of_all_tokens():
    """Token -> digits -> codes -> digits -> token for all 65,536."""
    tokens = torch.arange(VOCAB_SIZE)
    levels = tokens_to_levels(tokens)
    codes = levels_to_codes(levels)
    assert codes.unique().tolist() == [-1.0, -0.5, 0.0, 0.5]
    assert torch.equal(levels_to_tokens(codes_to_levels(codes)), tokens)


def test_fsq_agrees_with_transformers():
    """Codes and quantisation are those of Xcodec2's own quantiser."""
    from transformers import Xcodec2Config
    from transformers.models.xcodec2.modeling_xcodec2 import (
        Xcodec2FiniteScalarQuantization,
    )

    theirs = Xcodec2FiniteScalarQuantization(Xcodec2Config())
    tokens = torch.arange(VOCAB_SIZE)
    assert torch.equal(
        theirs.codebook, levels_to_codes(tokens_to_levels(tokens))
    )
    latents = 3 * torch.randn(2, 500, 8)
    codes, indices = theirs(latents)
    ours = quantise(latents)
    assert torch.allclose(ours, codes)
    assert torch.equal(levels_to_tokens(codes_to_levels(ours)), indices.long())


def test_quantise_passes_gradients():
    """The straight-through gradient is that of the bound."""
    latents = torch.randn(4, 8, requires_grad=True)
    quantise(latents).sum().backward()
    assert (latents.grad > 0).all()


@torch.no_grad()
def test_rows_for_every_length(frontend):
    """The network gives as many rows as `num_rows` says."""
    for length in [400, 719, 720, 721, 1039, 1040, 15999, 16000, 16079, 16080]:
        feats = frontend(torch.rand(1, length))
        assert feats.shape == (1, num_rows(length), 32)
        assert not feats[:, -1].any() and feats[:, -2].any()


@torch.no_grad()
def test_masked_rows_equal_single(frontend):
    """Ragged items give what each gives alone; the rest is zero."""
    wavs = torch.randn(2, 16000)
    samples = [16000, 9000]
    wavs[1, 9000:] = 7.0  # padding that must not matter
    feats = frontend(wavs, torch.tensor(samples) / 16000)
    for k, n in enumerate(samples):
        alone = frontend(wavs[k : k + 1, :n])[0]
        rows = num_rows(n)
        assert torch.allclose(feats[k, :rows], alone, atol=1e-5)
        assert not feats[k, rows:].any()


@torch.no_grad()
def test_normalised_waves_ignore_level_and_padding():
    """normalize_wav works per item, over its own samples."""
    torch.manual_seed(0)
    model = WavLMFrontend(
        [8] * 7, 32, 1, 2, 64, 320, 800, normalize_wav=True
    ).eval()
    wav = torch.randn(1, 8000)
    assert torch.allclose(model(wav), model(5 * wav + 1), atol=1e-4)
    padded = torch.nn.functional.pad(wav, (0, 8000))
    padded = torch.cat([padded, torch.randn(1, 16000)])
    ragged = model(padded, torch.tensor([0.5, 1.0]))
    assert torch.allclose(ragged[:1, :25], model(wav), atol=1e-4)


def test_frontend_names_what_is_too_short(frontend):
    """Under 25 ms there is no row."""
    with pytest.raises(
        ValueError, match="399 samples; a frontend needs at least"
    ):
        frontend(torch.rand(1, 399))


@torch.no_grad()
def test_unlayered_final_norm(frontend):
    """The output is hidden state k of transformers, before any final norm."""
    config = WavLMConfig(
        conv_dim=[8] * 7,
        conv_kernel=[10, 3, 3, 3, 3, 2, 2],
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        mask_time_prob=0.0,
    )
    theirs = WavLMModel(config).eval()
    theirs.encoder.layer_norm = torch.nn.Identity()
    theirs.load_state_dict(frontend.wavlm.state_dict())
    wavs = torch.randn(1, 40000)  # rows of which some are 124 apart
    states = theirs(wavs, output_hidden_states=True).hidden_states
    torch.testing.assert_close(
        frontend(wavs)[:, :-1], states[-1], atol=1e-5, rtol=1e-5
    )
    assert len(states) == 3


@pytest.mark.parametrize("buckets, longest", [(320, 800), (32, 128)])
def test_buckets_of_distances_are_those_of_transformers(buckets, longest):
    theirs = WavLMAttention(32, 2, num_buckets=buckets, max_distance=longest)
    distance = torch.arange(-3 * longest, 3 * longest)
    wanted = theirs._relative_positions_bucket(distance)
    assert torch.equal(bucket_of(distance, buckets, longest), wanted)


@torch.no_grad()
def test_backbone_is_that_of_transformers():
    """Keys, first weights' spread and results are those of LlamaModel."""
    config = LlamaConfig(
        vocab_size=1,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
    )
    theirs = LlamaModel(config).eval()
    del theirs.embed_tokens
    ours = build_llama(64, 2, 4, 96).eval()
    before = ours.layers[1].mlp.up_proj.weight.std()
    torch.testing.assert_close(before, torch.tensor(0.02), atol=1e-3, rtol=0)
    ours.load_state_dict(theirs.state_dict())
    rows = torch.randn(1, 30, 64)
    wanted = theirs(inputs_embeds=rows).last_hidden_state[0]
    found = run_llama(ours, rows[0], [(1, 30)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_decoder_is_that_of_transformers():
    """Seed by seed, too: a training begins from the same weights."""
    config = Xcodec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
        quantization_dim=48,
        semantic_model_config={
            "model_type": "wav2vec2-bert",
            "hidden_size": 16,
        },
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    theirs = Xcodec2Decoder(config).eval()
    torch.manual_seed(0)
    ours = build_decoder(48, 32, 2, 2, 64).eval()
    wanted, found = theirs.state_dict(), ours.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    rows = torch.randn(1, 30, 48)
    wav = run_decoder(ours, rows[0], [(1, 30)])
    torch.testing.assert_close(wav, theirs(rows)[0, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", ["softmax", "digits"])
def test_lm_is_causal(head):
    """No logits depend on later features."""
    torch.manual_seed(0)
    model = TokenLM(32, 16, 2, 2, 32, head=head).eval()
    feats = torch.randn(1, 20, 32, requires_grad=True)
    model(feats)[0, 9].sum().backward()
    assert not feats.grad[0, 10:].any()
    assert feats.grad[0, :10].abs().sum(-1).gt(0).all()


def test_lm_predicts_tokens(token_lm):
    """Digits are joined into tokens as FSQ does."""
    feats = torch.randn(2, 20, 32)
    tokens = token_lm.predict(feats)
    assert tokens.shape == (2, 20) and tokens.dtype == torch.int64
    digits = token_lm(feats).argmax(-1)
    assert torch.equal(tokens_to_levels(tokens), digits)


def test_lm_head_is_checked():
    """An unknown head is refused with the known ones."""
    with pytest.raises(ValueError, match=r"'words' .* \['digits', 'softmax'\]"):
        TokenLM(32, 16, 1, 2, 32, head="words")


def test_sinusoid_by_hand():
    """angle(t, i) = t * 10000^(-i / d); even sine, odd cosine."""
    ours = sinusoid(50, 4)
    for t in (0, 1, 49):
        expected = [
            torch.tensor(t * 10000 ** (-i / 4)).sin()
            if i % 2 == 0
            else torch.tensor(t * 10000 ** (-i / 4)).cos()
            for i in range(4)
        ]
        assert torch.allclose(ours[t], torch.stack(expected), atol=1e-5)


@torch.no_grad()
def test_vocoder_lengths_and_codes(vocoder):
    """320 samples a token; tokens and their codes decode alike."""
    tokens = torch.randint(VOCAB_SIZE, (2, 7))
    wavs = vocoder(tokens)
    assert wavs.shape == (2, 2240) and wavs.dtype == torch.float32
    codes = levels_to_codes(tokens_to_levels(tokens))
    assert torch.equal(vocoder.decode_codes(codes), wavs)
    assert vocoder(tokens[:, :0]).shape == (2, 0)


@pytest.mark.parametrize("bad", [-1, VOCAB_SIZE])
def test_vocoder_refuses_other_tokens(vocoder, bad):
    """Padding or foreign tokens do not decode to noise silently."""
    with pytest.raises(ValueError, match="without padding"):
        vocoder(torch.tensor([[0, bad]]))


def test_vocoder_dimensions_are_checked():
    """The code's width must exceed the backbone's."""
    with pytest.raises(ValueError, match="quantization_dim=32"):
        Xcodec2Vocoder(32, 1, 2, 32, 64)


def test_largest_of_is_the_first_one():
    """The place of the largest logit; of equal ones, the first."""
    logits = torch.randint(-9, 9, (50, CLASSES)).bfloat16()
    logits[0] = -torch.inf
    best = logits.amax(-1, keepdim=True)
    assert torch.equal(largest_of(logits), (logits == best).int().argmax(-1))
    logits = torch.randn(50, CLASSES)
    assert torch.equal(largest_of(logits), logits.argmax(-1))


def test_largest_of_any_number_of_rows():
    """Traced on one number of rows, as for ONNX, it takes others."""

    class Largest(torch.nn.Module):
        def forward(self, logits):
            return largest_of(logits)

    rows = {"logits": {0: torch.export.Dim.DYNAMIC}}
    found = torch.export.export(
        Largest(), (torch.randn(5, 8192),), dynamic_shapes=rows
    )
    logits = torch.randn(7, 8192)
    assert torch.equal(found.module()(logits), logits.argmax(-1))
