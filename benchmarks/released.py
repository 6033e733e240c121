"""The released procedure, written plainly with library modules.

What a user of the released script gets: float32, one window at a time, 10 s
windows with 2 s of context on both sides at two stages, features saved to
disk and read back, a language model with its unused word head, all 65,536
logits of all frames at once, hard joins. Random weights at the official
dimensions; the encoding half of the codec and w2v-BERT, which it also loads,
are left out.
"""

import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    WavLMConfig,
    WavLMModel,
    Xcodec2Config,
)
from transformers.models.xcodec2.modeling_xcodec2 import (
    Xcodec2Decoder,
    Xcodec2Quantizer,
)

from speechbrain_llase.lobes.token_lm import StageNorm, sinusoid

RATE, CHUNK, CONTEXT = 16000, 10, 2  # Hz, seconds, seconds
ROWS = 50  # a second


class Released(torch.nn.Module):
    """The networks that the released script runs, and its two loops."""

    def __init__(self):
        super().__init__()
        self.wavlm = WavLMModel(
            WavLMConfig(
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                conv_bias=False,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                num_buckets=320,
                max_bucket_distance=800,
            )
        )
        self.audio_linear = torch.nn.Linear(1024, 1024)
        self.stage_embedding = torch.nn.Embedding(1, 1024)
        self.stage_norm = StageNorm(1024)
        self.lm = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=1024,
                num_hidden_layers=12,
                num_attention_heads=16,
                intermediate_size=4096,
                vocab_size=32000,
            )
        )
        self.predict_layer = torch.nn.Linear(1024, 65536)
        codec = Xcodec2Config()
        codec._attn_implementation = "sdpa"
        self.quantizer = Xcodec2Quantizer(codec)
        self.decoder = Xcodec2Decoder(codec)
        # 24 layers are loaded, 6 are run
        self.unused = self.wavlm.encoder.layers[6:]
        self.wavlm.encoder.layers = self.wavlm.encoder.layers[:6]

    @torch.no_grad()
    def enhance(self, source: Path, target: Path) -> None:
        """Enhance a file as the released script does."""
        with tempfile.TemporaryDirectory() as folder:
            features = Path(folder) / "features.npy"
            np.save(features, self.extract(source).cpu().numpy())
            feats = torch.from_numpy(np.load(features))
            wav = self.generate(feats.to(self.predict_layer.weight.device))
        soundfile.write(target, wav.cpu().numpy(), RATE)

    def extract(self, source: Path) -> torch.Tensor:
        """First loop: features (rows, 1024) of the whole file."""
        wav = torch.from_numpy(soundfile.read(source, dtype="float32")[0])
        wav = wav.to(self.predict_layer.weight.device) / wav.abs().max()
        rows = []
        for start in range(0, len(wav), CHUNK * RATE):
            stop = min(start + CHUNK * RATE, len(wav))
            first = max(0, start - CONTEXT * RATE)
            last = min(len(wav), stop + CONTEXT * RATE)
            feats = self.wavlm(wav[None, first:last]).last_hidden_state[0]
            feats = torch.nn.functional.pad(feats, (0, 0, 0, 1))
            left, right = (start - first) // 320, -(-(last - stop) // 320)
            rows.append(feats[left : len(feats) - right])
        return torch.cat(rows)

    def generate(self, feats: torch.Tensor) -> torch.Tensor:
        """Second loop: tokens and wave, joined hard."""
        pieces = []
        for start in range(0, len(feats), CHUNK * ROWS):
            stop = min(start + CHUNK * ROWS, len(feats))
            first = max(0, start - CONTEXT * ROWS)
            last = min(len(feats), stop + CONTEXT * ROWS)
            tokens = self.predict(feats[None, first:last])
            codes = self.quantizer.from_codes(tokens.unsqueeze(-1))
            wav = self.decoder(codes)[0, 0]
            left = (start - first) // ROWS * RATE
            right = -(-(last - stop) // ROWS) * RATE
            pieces.append(wav[left : len(wav) - right])
        return torch.cat(pieces)

    def predict(self, feats: torch.Tensor) -> torch.Tensor:
        """Tokens (1, rows): all logits, word logits and transpose included."""
        hidden = self.audio_linear(feats)
        position = sinusoid(hidden.shape[1], hidden.shape[2])
        hidden = hidden + position.to(hidden)
        hidden = self.stage_norm(hidden, self.stage_embedding.weight[0])
        output = self.lm(inputs_embeds=hidden, output_hidden_states=True)
        logits = self.predict_layer(output.hidden_states[-1])
        return logits.transpose(1, 2).argmax(1)
