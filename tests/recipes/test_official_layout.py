"""Fine-tuning from official files: tokens, training, publishing, loading.

The files are those of the golden case `tiny`, in the official layouts and of
tiny dimensions; `speechbrain-llase convert` makes the folder to begin with.
"""

import sys
from pathlib import Path

import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.xcodec2_tokenizer import load_tokenizer
from speechbrain_llase.pretrained.convert import convert
from speechbrain_llase.pretrained.publish import find_checkpoint, publish
from speechbrain_llase.pretrained.tensors import read_tensors
from speechbrain_llase.training.token_cache import TokenCache

RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"
NETWORKS = ("frontend", "token_lm", "vocoder")
LAYERS = {
    "all": ("*",),
    "lora": ("backbone.layers.*.self_attn.?_proj",),
    "last": ("backbone.layers.2", "backbone.norm", "predict_layer"),
}


class Plain(yaml.SafeLoader):
    """Reads a YAML of HyperPyYAML without building what it names."""


Plain.add_multi_constructor(
    "!", lambda loader, _, node: read_node(loader, node)
)


def read_node(loader, node):
    """Give a tagged mapping as a dict, anything else as its text."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return getattr(node, "value", None)


@pytest.fixture(scope="module")
def work(tmp_path_factory, stand_in_files) -> Path:
    """The converted folder `model` and a user's `folders`."""
    folder = tmp_path_factory.mktemp("official")
    files = {
        "wavlm": stand_in_files / "WavLM-Large.pt",
        "lm": stand_in_files / "best.pt.tar",
        "codec": stand_in_files / "xcodec2.ckpt",
        "w2v_bert": stand_in_files / "w2v_bert.safetensors",
    }
    heads = {"lm_heads": 4, "codec_heads": 2}
    convert(files, folder / "model", "float32", **heads)
    recipe_data.write_folders(folder / "folders", clips=4)
    return folder


@pytest.fixture
def flags(work, monkeypatch) -> list[str]:
    """What both scripts are given."""
    monkeypatch.chdir(work)
    return [
        "--base=model",
        "--data_folder=folders",
        "--manifest_folder=lists",
        "--tokens_folder=tokens",
        "--device=cpu",
        "--noprogressbar",
    ]


def dimensions(work: Path) -> list[str]:
    """Those that `convert` found, for the recipe's command line."""
    text = (work / "model/hyperparams.yaml").read_text()
    found = yaml.load(text, Plain)
    dims = {name: found[name] for name in NETWORKS}
    for values in dims.values():
        values.pop("compute", None)
    return [f"--{name}={values}" for name, values in dims.items()]


def extract(run_script, flags):
    """Run the first step."""
    script = RECIPE / "extract_tokens.py"
    run_script(script, RECIPE / "hparams/tokens.yaml", *flags)


def test_tokens_are_those_of_xcodec2(work, flags, run_script):
    """The cache holds what the converted Xcodec2Tokenizer gives."""
    extract(run_script, flags)
    tokenizer = load_tokenizer(str(work / "model"))
    cache = TokenCache(work / "tokens")
    assert cache.tokenizer_id.startswith("xcodec2-")
    files = sorted((work / "folders/clean").rglob("*.wav"))
    assert len(cache) == len(files) == 6
    for file in files:
        wav = recipe_data.read(file)
        found = cache.find(file.read_bytes(), len(wav))
        assert torch.equal(found, tokenizer(wav[None])[0])


@pytest.mark.parametrize("train", LAYERS)
def test_tuned_published_loaded(train, work, flags, run_script):
    """All weights, LoRA or the last layers: two epochs, a folder, a wave."""
    extract(run_script, flags)
    tuned = f"{{train: {train}, lora_layers: {list(LAYERS['lora'])}, "
    tuned += f"last_layers: {list(LAYERS['last'])}}}"
    run_script(
        RECIPE / "train.py",
        RECIPE / "hparams/finetune_llase.yaml",
        *flags,
        *dimensions(work),
        f"--fine_tuned={tuned}",
        f"--output_folder={work / train}",
        "--number_of_epochs=2",
        "--batching={max_batch_length: 2.0}",
        "--warmup_steps=1",
        "--lr=0.003",
        "--grad_accumulation_factor=1",
        "--num_workers=0",
        "--precision=fp32",
    )
    published = work / f"{train}-published"
    manifest = publish(work / train, published, "float32")
    assert manifest["tokenizer"].startswith("xcodec2-")
    enhancer, base = (
        EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
        for folder in (published, work / "model")
    )
    assert enhancer.enhance_batch(torch.rand(1, 8000) - 0.5).shape == (1, 8000)
    before, after = (
        dict(model.mods.token_lm.named_parameters())
        for model in (base, enhancer)
    )
    changed = {
        name for name in before if not torch.equal(before[name], after[name])
    }
    saved = read_tensors(str(find_checkpoint(work / train) / "token_lm.ckpt"))
    trained = {
        name.replace("parametrizations.weight.0.down", "weight")
        for name in saved
        if not name.endswith("0.up")
    }
    assert changed and changed <= trained
    assert len(changed) > 0.9 * len(trained)
    for name in ("frontend", "vocoder"):
        ours, theirs = (
            model.mods[name].state_dict() for model in (enhancer, base)
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
