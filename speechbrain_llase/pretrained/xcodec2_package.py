"""Xcodec2PackageVocoder: the decoder of the `xcodec2` package itself.

The same weights and the same interface as Xcodec2Vocoder, computed by the code
that the codec's authors published. For those who want to compare; ours needs
no further package. To use it, change the `!new:` line of `vocoder` in a model's
YAML to ``!new:speechbrain_llase.pretrained.xcodec2_package.Xcodec2PackageVocoder``.
"""

import torch

from speechbrain_llase.lobes.xcodec2_vocoder import tokens_to_codes
from speechbrain_llase.pretrained.tensors import StoredTensor, rename

INSTALL = """\
Xcodec2PackageVocoder runs the package xcodec2, which cannot be imported here \
({err}). It pins an old torch; beside a newer one, install it so:
  pip install torchtune==0.6.1 torchao==0.16.0 vector-quantize-pytorch==1.17.8
  pip install --no-deps xcodec2==0.1.5 einops==0.8.0
Or use speechbrain_llase.lobes.xcodec2_vocoder.Xcodec2Vocoder, which needs neither."""
RULES = [  # our keys -> the package's
    (r"^project_out\.", "generator.quantizer.project_out."),
    (r"^decoder\.fc\.", "fc_post_a."),
    (r"^decoder\.norm\.", "generator.backbone.final_layer_norm."),
    (r"^decoder\.head\.linear\.", "generator.head.out."),
    (r"^decoder\.layers\.", "generator.backbone.transformers."),
    (r"^decoder\.", "generator.backbone."),
    (r"\.input_layernorm\.", ".att_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.self_attn\.o_proj\.", ".att.c_proj."),
]


class Xcodec2PackageVocoder(torch.nn.Module):
    """Decode Xcodec2 tokens with the package's own networks, in float32.

    Arguments
    ---------
    hidden_size : int
        Width of the backbone, a multiple of 32 (1024 in the released codec).
    num_layers : int
        Transformer layers (12).
    num_heads : int
        Attention heads; must divide hidden_size (16).
    quantization_dim : int
        Width of the projected FSQ code (2048).
    ffn_size : int
        The package knows ``4 * hidden_size`` only.
    compute : str
        The package knows "float32" only; "auto" means that too.

    Raises
    ------
    ImportError
        The package is not installed; says how to.
    ValueError
        ffn_size or compute is another.
    """

    hop_length = 320  # samples a token

    def __init__(
        self,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        quantization_dim: int,
        ffn_size: int,
        compute: str = "float32",
    ):
        super().__init__()
        if compute not in ("auto", "float32"):
            raise ValueError(
                f"compute={compute!r}; the xcodec2 package runs in float32. "
                "Choose float32 or auto."
            )
        if ffn_size != 4 * hidden_size:
            raise ValueError(
                f"ffn_size={ffn_size}; the xcodec2 package builds "
                f"4 * hidden_size = {4 * hidden_size} and nothing else."
            )
        try:
            from xcodec2.vq.codec_decoder_vocos import CodecDecoderVocos
        except ImportError as err:
            raise ImportError(INSTALL.format(err=err)) from err
        self.generator = CodecDecoderVocos(
            hidden_dim=hidden_size,
            depth=num_layers,
            heads=num_heads,
            pos_meb_dim=hidden_size // num_heads,
            hop_length=self.hop_length,
            vq_dim=quantization_dim,
        )
        self.fc_post_a = torch.nn.Linear(quantization_dim, hidden_size)
        # what no file holds, and what only encoding needs
        istft = self.generator.head.istft
        istft.register_buffer("window", istft.window, persistent=False)
        self.generator.quantizer.project_in = torch.nn.Identity()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens (B, N) to wavs (B, 320 N), as Xcodec2Vocoder."""
        codes = tokens_to_codes(tokens)  # checks them
        if not tokens.numel():
            return self.decode_codes(codes)
        quantizer = self.generator.quantizer
        return self.decode_rows(
            quantizer.get_output_from_indices(tokens.long()[..., None])
        )

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode FSQ codes (B, N, 8) between the levels too."""
        if codes.shape[1] == 0:
            return codes.new_zeros(codes.shape[0], 0)
        return self.decode_rows(self.generator.quantizer.project_out(codes))

    def decode_each(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decode items of any lengths, one by one."""
        return [self(item[None])[0] for item in tokens]

    def decode_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Decode projected codes (B, N, quantization_dim)."""
        return self.generator(self.fc_post_a(rows), vq=False)[0].squeeze(1)


def package_keys(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Turn Xcodec2Vocoder's keys into the package's; q, k, v become one."""
    tensors = rename(tensors, RULES)
    for key in [k for k in tensors if k.endswith(".self_attn.q_proj.weight")]:
        names = [key.replace("q_proj", f"{name}_proj") for name in "qkv"]
        if all(name in tensors for name in names):
            parts = [tensors.pop(name) for name in names]
            joined = key.replace("self_attn.q_proj", "att.c_attn")
            tensors[joined] = one_below_another(parts)
    return tensors


def one_below_another(parts: list[StoredTensor]) -> StoredTensor:
    """Tensors joined along their first axis."""
    rows = sum(part.shape[0] for part in parts)
    return StoredTensor(
        torch.Size([rows, *parts[0].shape[1:]]),
        lambda: torch.cat([part.read() for part in parts]),
        frozenset.union(*(part.names for part in parts)),
    )
