"""The official files: where they are, how large, and how to tell them apart."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LICENCES = {
    "wavlm": "see huggingface.co/microsoft/wavlm-large",
    "lm": "see huggingface.co/BeauKang01/LLaSE",
    "multitask_lm": "Apache-2.0 (ASLP-lab/LLaSE-G1)",
    "codec": "CC-BY-NC-4.0 (HKUSTAudio/xcodec2): no commercial use",
    "w2v_bert": "MIT (facebook/w2v-bert-2.0)",
}
DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}  # bytes a weight
LAYER = 6  # of WavLM, whose output the LM hears
# How many weights are used, if the official files have their sizes.
WEIGHTS = {"wavlm": 88_708_368, "lm": 271_678_464, "codec": 186_983_682}
WEIGHTS["multitask_lm"] = 941_821_952
ENCODER_WEIGHTS = 442_297_000  # and of the encoding half
NEAR = 0.01  # how far a size that is known roughly may be off


@dataclass(frozen=True)
class OfficialFile:
    """One published file."""

    part: str  # as `convert` calls it
    address: str  # ORG/NAME/FILE on the Hugging Face hub; else a bare name
    size: int  # bytes; whole millions if known roughly, 0 if nobody said it
    mark: str  # a tensor that it has, and no file of another layout
    or_else: str = ""  # its name, where it is not at its address

    def __str__(self) -> str:
        return self.address

    @property
    def repo(self) -> str:
        """Its repository on the hub."""
        return "/".join(self.address.split("/")[:2])

    @property
    def name(self) -> str:
        """Its name in the repository."""
        return self.address.split("/", 2)[-1]

    @property
    def kind(self) -> str:
        """Its part, of which there are two in one place."""
        return "multitask_lm" if self.mark == G1 else self.part

    @property
    def licence(self) -> str:
        """The licence that `convert` writes down too."""
        return LICENCES[self.kind]

    def differs(self, size: int) -> str:
        """Say how a size differs from the published one; "" if it does not."""
        is_rough = self.size % 1_000_000 == 0
        allowed = NEAR * self.size if is_rough else 0
        if not self.size or abs(size - self.size) <= allowed:
            return ""
        about = "about " if is_rough else ""
        return (
            f"{size:,} bytes, where {about}{self.size:,} were published: another "
            "version than the one that this was written for"
        )


UNILM = "encoder.layers.0.self_attn.grep_a"
TRANSFORMERS = "encoder.layers.0.attention.gru_rel_pos_const"
LM = "module.predict_layer.weight"
CODEC = "acoustic_decoder.embed.weight"
XCODEC2 = "generator.backbone.embed.weight"
W2V_BERT = "encoder.layers.0.ffn1.intermediate_dense.weight"
G1 = "module.audio_linear_x.weight"
FILES = [
    OfficialFile(
        "wavlm",
        "microsoft/wavlm-large/pytorch_model.bin",
        1_261_990_257,
        TRANSFORMERS,
    ),
    OfficialFile("wavlm", "WavLM-Large.pt", 1_261_965_425, UNILM),
    OfficialFile("lm", "BeauKang01/LLaSE/best.pt.tar", 3_522_000_000, LM),
    OfficialFile(
        "codec", "HKUSTAudio/xcodec2-hf/model.safetensors", 2_517_231_448, CODEC
    ),
    OfficialFile(
        "codec", "HKUSTAudio/xcodec2/model.safetensors", 3_291_000_000, XCODEC2
    ),
    OfficialFile(
        "codec", "HKUSTAudio/xcodec2/ckpt/epoch=4-step=1400000.ckpt", 0, XCODEC2
    ),
    OfficialFile(
        "w2v_bert",
        "facebook/w2v-bert-2.0/model.safetensors",
        2_322_063_736,
        W2V_BERT,
    ),
    OfficialFile(
        "lm",
        "ASLP-lab/LLaSE-G1/ckpt/model.pt.tar",
        4_292_000_000,
        G1,
        or_else="model.pt.tar",
    ),
]
ON_HUB = {str(f): f for f in FILES if "/" in f.address}
FILE_ENDINGS = tuple({Path(file.name).suffix for file in FILES})
MODELS = {  # what `download` fetches
    name: [
        ON_HUB["microsoft/wavlm-large/pytorch_model.bin"],
        ON_HUB[lm],
        ON_HUB["HKUSTAudio/xcodec2-hf/model.safetensors"],
    ]
    for name, lm in (
        ("llase", "BeauKang01/LLaSE/best.pt.tar"),
        ("llase_g1", "ASLP-lab/LLaSE-G1/ckpt/model.pt.tar"),
    )
}


def recognise(keys: Collection[str], is_pickle: bool) -> OfficialFile | None:
    """Tell which official file has tensors of these names, if any has.

    Of two with the same tensors, it is the one in the same container:
    `is_pickle` says whether torch.save wrote it.
    """
    found = [file for file in FILES if file.mark in keys]
    found.sort(key=lambda f: f.name.endswith(".safetensors") == is_pickle)
    return found[0] if found else None
