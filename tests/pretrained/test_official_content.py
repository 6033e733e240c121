"""What official files hold beside weights: passed over, compared, refused."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import layouts
import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.lobes.xcodec2_tokenizer import CodecEncoder
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained.dimensions import read_config
from speechbrain_llase.pretrained.loading import (
    load_codec_encoder,
    load_token_lm,
    load_vocoder,
)
from speechbrain_llase.pretrained.pickles import PassedOver, load_pickle
from speechbrain_llase.pretrained.tensors import read_tensors

WEIGHTS = {"a": torch.arange(3.0)}
PASSED = [  # names that a stray object gives away
    "argparse.Namespace",
    "omegaconf.dictconfig.DictConfig",
    "easydict.EasyDict",
    "numpy.dtype",
    "collections.defaultdict",
    "pathlib.PosixPath",
    "datetime.datetime",
    "torch.optim.lr_scheduler.StepLR",
    "torch.nn.modules.loss.CrossEntropyLoss",
    "layouts.Phase",
    "functools.partial",
]


def build_lm() -> TokenLM:
    """A token LM of the golden dimensions."""
    return TokenLM(64, 48, 3, 4, 192)


class Trap:
    """Unpickling this runs something."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def traps(sprung: Path) -> dict[str, Trap]:
    """Ways to make a folder."""
    code = f"__import__('os').mkdir({str(sprung)!r})"
    return {
        "os.system": Trap(os.system, (f"mkdir {sprung}",)),
        "os.mkdir": Trap(os.mkdir, (str(sprung),)),
        "eval": Trap(eval, (code,)),
        "exec": Trap(exec, (code,)),
        "getattr": Trap(getattr, (Path(sprung), "mkdir")),
        "subprocess": Trap(subprocess.call, (["mkdir", str(sprung)],)),
        "inside a list": Trap(list, ([Trap(eval, (code,))],)),
    }


@pytest.mark.parametrize("place", ["beside", "inside", "in place of"])
@pytest.mark.parametrize("kind", traps(Path("x")))
def test_hostile(tmp_path, kind, place):
    """Nothing runs; where weights depend on it, the file is refused."""
    sprung, path = tmp_path / "sprung", tmp_path / "bad.ckpt"
    trap = traps(sprung)[kind]
    saved = {"model": dict(WEIGHTS), "epoch": 1}
    if place == "beside":
        saved["args"] = trap
    elif place == "inside":
        saved["model"]["b"] = trap
    else:
        saved["model"] = trap
    torch.save(saved, path)
    if place == "beside" and not kind.startswith("os."):
        assert torch.equal(read_tensors(str(path))["a"], WEIGHTS["a"])
    else:  # torch blocks the module os altogether
        with pytest.raises(ValueError, match="was not unpickled"):
            read_tensors(str(path))
    assert not sprung.exists()


def test_a_result_is_not_called(tmp_path):
    """What a passed-over call gives cannot be called in its turn."""
    sprung, path = tmp_path / "sprung", tmp_path / "bad.ckpt"

    class Call:
        def __reduce__(self):
            return Marked(), (str(sprung),)

    class Marked:
        def __reduce__(self):
            return getattr, (Path, "mkdir")

        def __call__(self, *_):
            """Only callables may be named by a reduction."""

    torch.save({"model": WEIGHTS, "args": Call()}, path)
    with pytest.raises(ValueError, match="was not unpickled"):
        read_tensors(str(path))
    assert not sprung.exists()


def test_objects_beside_weights(official_files, tmp_path, caplog):
    """Thirteen kinds in the LM's file: one line names their classes."""
    path = str(official_files / "best.pt.tar")
    loaded = load_pickle(path)
    strays = [k for k, v in loaded.items() if isinstance(v, PassedOver)]
    assert {"args", "omegaconf", "easydict", "history", "path"} < set(strays)
    lm = build_lm()
    caplog.clear()
    copy = tmp_path / "again.pt.tar"
    copy.symlink_to(path)
    for _ in range(2):
        load_token_lm(lm, str(copy))
    (line,) = caplog.messages
    assert "\n" not in line and all(name in line for name in PASSED)
    weights = read_tensors(path)
    bias = weights["module.predict_layer.bias"]
    assert torch.equal(lm.predict_layer.bias, bias)


def test_objects_do_not_stay_known(official_files):
    """Another load is as strict as before."""
    path = str(official_files / "best.pt.tar")
    load_token_lm(build_lm(), path)
    known = torch.serialization.get_safe_globals()
    assert not any(isinstance(entry, tuple) for entry in known)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)


def test_object_in_the_configuration(tmp_path):
    """What says how WavLM is built must be plain."""
    path = tmp_path / "wavlm.pt"
    for config in (
        argparse.Namespace(max_distance=800),
        {"max_distance": Trap(eval, ("800",))},
    ):
        torch.save({"model": WEIGHTS, "cfg": config}, path)
        with pytest.raises(ValueError, match="how the network is built"):
            read_config(str(path))


def test_old_pickles_say_how(tmp_path):
    """The command in the error makes safetensors of the file."""
    path = tmp_path / "an old one.pt"
    saved = {"args": argparse.Namespace(lr=1), "model_state_dict": WEIGHTS}
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="If you trust it") as error:
        read_tensors(str(path))
    assert "\n" not in str(error.value)
    command = str(error.value).partition(" by: ")[2]
    folder = Path(sys.executable).parent
    subprocess.run(
        command,
        shell=True,
        check=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    made = read_tensors(f"{path}.safetensors")
    assert torch.equal(made["a"], WEIGHTS["a"])


COMPUTED = {
    "generator.head.istft.window": torch.hamming_window(1280),
    "CodecEnc.conv_final_block.0.upsample.filter": torch.full(
        (1, 1, 12), 1 / 12
    ),
    "CodecEnc.conv_blocks.5.block.3.downsample.lowpass.filter": torch.zeros(1),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_another_window_or_filter(official_files, tmp_path, name):
    """They are compared with what the code computes, in both halves."""
    tensors = load_file(official_files / layouts.CODEC[2])
    assert name in tensors
    save_file({**tensors, name: COMPUTED[name]}, tmp_path / "other.safetensors")
    for load, module in (
        (load_vocoder, Xcodec2Vocoder(64, 3, 2, 96, 256)),
        (load_codec_encoder, CodecEncoder(64, 32, 8)),
    ):
        with pytest.raises(ValueError, match="another architecture"):
            load(module, str(tmp_path / "other.safetensors"))


def test_rounded_window(official_files, tmp_path):
    """A copy in half precision is the same architecture."""
    tensors = load_file(official_files / layouts.CODEC[2])
    half = {key: tensor.bfloat16() for key, tensor in tensors.items()}
    save_file(half, tmp_path / "half.safetensors")
    load_vocoder(
        Xcodec2Vocoder(64, 3, 2, 96, 256), str(tmp_path / "half.safetensors")
    )


def test_counts(official_files):
    """73 computed tensors are stored, as in the official files."""
    keys = load_file(official_files / layouts.CODEC[2]).keys()
    stored = [k for k in keys if k.endswith((".filter", ".window"))]
    assert len(stored) == 73


def test_ignore(official_files, tmp_path):
    """Unknown tensors can be left out, missing ones cannot."""
    weights = read_tensors(str(official_files / "best.pt.tar"))
    weights |= {f"module.ema.{n}": torch.zeros(1) for n in range(30)}
    path = tmp_path / "lm.pt"
    torch.save({"model_state_dict": weights}, path)
    with pytest.raises(ValueError, match="--ignore") as error:
        load_token_lm(build_lm(), str(path))
    assert str(error.value).count("module.ema.") == 11  # ten, and the example
    assert "and 20 more" in str(error.value)
    lm = build_lm()
    load_token_lm(lm, str(path), ignore=["*.ema.*"])
    assert torch.equal(
        lm.predict_layer.bias, weights["module.predict_layer.bias"]
    )
    del weights["module.predict_layer.bias"]
    torch.save({"model_state_dict": weights}, path)
    with pytest.raises(
        ValueError, match="missing: predict_layer.bias"
    ) as error:
        load_token_lm(build_lm(), str(path), ignore=["*"])
    assert "--ignore" not in str(error.value)
