"""Xcodec2Tokenizer: clean speech -> Xcodec2 tokens, the training targets.

The encoding half of Xcodec2 (Ye et al., arXiv:2502.04128), built from plain
numbers: w2v-BERT 2.0 up to layer 16 and an adapter hear what is said, a
convolutional encoder how it sounds; FSQ makes one token of both every 20 ms.
Needed for training only. The layers are those of `transformers`.
"""

import torch
from speechbrain.inference.interfaces import Pretrained
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel, Xcodec2Config
from transformers.models.xcodec2.feature_extraction_xcodec2 import (
    Xcodec2FeatureExtractor,
)
from transformers.models.xcodec2.modeling_xcodec2 import (
    Xcodec2Encoder,
    Xcodec2SemanticAdapter,
)

from speechbrain_llase.nnet.fsq import (
    NUM_DIGITS,
    bound,
    codes_to_levels,
    levels_to_tokens,
    quantise,
)
from speechbrain_llase.processing.framing import (
    MIN_SAMPLES,
    SAMPLE_RATE,
    num_rows,
)


class SemanticEncoder(torch.nn.Module):
    """w2v-BERT 2.0 up to the layer that Xcodec2 reads, always in eval mode.

    In the released codec: width 1024, 16 of 24 layers, 16 heads, feed-forward
    layers of 4096.
    """

    def __init__(
        self, hidden_size: int, num_layers: int, num_heads: int, ffn_size: int
    ):
        super().__init__()
        config = Wav2Vec2BertConfig(
            hidden_size=hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            intermediate_size=ffn_size,
            mask_time_prob=0.0,
            mask_feature_prob=0.0,
            apply_spec_augment=False,
            layerdrop=0.0,
        )
        self.bert = Wav2Vec2BertModel(config)
        self.eval()

    def train(self, mode: bool = True) -> "SemanticEncoder":
        """Stay in eval mode: it is frozen."""
        return super().train(False)

    def forward(
        self, feats: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map mel features (B, N, 160) to hidden states (B, N, hidden)."""
        return self.bert(feats, attention_mask=mask).last_hidden_state


class CodecEncoder(torch.nn.Module):
    """The rest of the encoding half: adapter, convolutions, projection.

    In the released codec: acoustic and semantic half of 1024 each, 48 channels
    of the first convolution.
    """

    def __init__(self, hidden_size: int, semantic_size: int, channels: int):
        super().__init__()
        config = Xcodec2Config(
            hidden_size=hidden_size,
            encoder_hidden_size=channels,
            quantization_dim=hidden_size + semantic_size,
            num_attention_heads=1,
            head_dim=hidden_size,
            semantic_model_config={
                "model_type": "wav2vec2-bert",
                "hidden_size": semantic_size,
            },
        )
        width = hidden_size + semantic_size
        self.semantic_adapter = Xcodec2SemanticAdapter(config)
        self.acoustic_encoder = Xcodec2Encoder(config)
        self.fc_encoder = torch.nn.Linear(width, width)
        self.project_in = torch.nn.Linear(width, NUM_DIGITS)

    def forward(
        self, wavs: torch.Tensor, semantic: torch.Tensor
    ) -> torch.Tensor:
        """Encode waves, float (B, 1, 320 N), and semantic (B, N, semantic_size).

        Gives latents (B, N, 8), before the bound.
        """
        meaning = self.semantic_adapter(semantic.transpose(1, 2))
        sound = self.acoustic_encoder(wavs)
        joined = torch.cat([meaning, sound], dim=1).transpose(1, 2)
        return self.project_in(self.fc_encoder(joined))


class Xcodec2Tokenizer(torch.nn.Module):
    """Turn clean speech into Xcodec2 tokens.

    Arguments
    ---------
    semantic_encoder : SemanticEncoder
        Loaded from w2v-BERT 2.0 or from the transformers form of Xcodec2.
    codec_encoder : CodecEncoder
        Loaded from a file of Xcodec2.

    Example
    -------
    >>> tokenizer = Xcodec2Tokenizer(
    ...     SemanticEncoder(16, 1, 2, 32), CodecEncoder(32, 16, 2)
    ... )
    >>> tokenizer(torch.rand(2, 16000) - 0.5).shape
    torch.Size([2, 50])
    """

    def __init__(
        self, semantic_encoder: SemanticEncoder, codec_encoder: CodecEncoder
    ):
        super().__init__()
        self.semantic_encoder = semantic_encoder
        self.codec_encoder = codec_encoder
        self.prepare = Xcodec2FeatureExtractor()

    def forward(self, wavs: torch.Tensor) -> torch.Tensor:
        """Encode waveforms (B, T) of one length: a token for each feature row.

        The codec itself gives one more where T % 320 is under 80; see
        `encode`. Its convolutions pad by replication, so no mask would make
        items of several lengths exact: encode those one by one. Waves are at
        16 kHz, in [-1, 1], tokens int64 (B, N). A ValueError, if T is under
        400.
        """
        return self.encode(wavs)[:, : num_rows(wavs.shape[1])]

    @torch.no_grad()
    def encode(self, wavs: torch.Tensor) -> torch.Tensor:
        """Encode waveforms (B, T) of one length to all of the codec's tokens.

        As `forward`, but int64 (B, floor(T / 320) + 1), as the codec's own
        encoder.
        """
        if wavs.shape[1] < MIN_SAMPLES:
            raise ValueError(
                f"The speech has {wavs.shape[1]} samples; at least "
                f"{MIN_SAMPLES} (25 ms) are needed for a token."
            )
        inputs = self.prepare(
            audio=list(wavs.cpu()),
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
        ).to(wavs.device)
        semantic = self.semantic_encoder(
            inputs["input_features"], inputs["input_features_mask"]
        )
        latents = self.codec_encoder(inputs["input_values"], semantic)
        codes = quantise(bound(latents))  # bounded twice, as released
        return levels_to_tokens(codes_to_levels(codes))


def load_tokenizer(source: str) -> Xcodec2Tokenizer:
    """Load the encoding half of a folder converted with w2v-BERT."""
    loaded = Pretrained.from_hparams(source, hparams_file="tokenizer.yaml")
    return loaded.mods["tokenizer"]
