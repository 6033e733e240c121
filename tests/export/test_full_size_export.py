"""The official dimensions as ONNX files, their weights beside them.

Takes minutes, some 5 GB of memory and 6 GB of disk, which it frees again: run
it by `make test ARGS="-m slow -k full_size_export -s"`.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stand_in
import torch

from speechbrain_llase import EnhanceLLaSE

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

pytestmark = [pytest.mark.slow, pytest.mark.shared]
SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
UNUSED = (  # of the official files, by what enhancement runs
    r"encoder\.layers\.([6-9]|1\d|2\d)\.|CodecEnc\.|SemanticEncoder_module\."
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is gone after the test, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="llase_full_") as name:
        yield Path(name)


def load_stand_in(folder: Path) -> EnhanceLLaSE:
    """`llase` with the weights of the case `full`, at its own level."""
    spec = json.loads((SHARED / "full.json").read_text())
    parts = {k: v for k, v in spec["manifest"].items() if k != "w2v_bert"}
    for part in ("wavlm", "xcodec2"):
        parts[part] = {
            k: v for k, v in parts[part].items() if not re.match(UNUSED, k)
        }
    stand_in.write({**spec, "manifest": parts}, folder)
    (folder / "xcodec2.ckpt").unlink()
    files = {
        "wavlm_file": str(folder / "WavLM-Large.pt"),
        "lm_file": str(folder / "best.pt.tar"),
        "codec_file": str(folder / "xcodec2.safetensors"),
    }
    sizes = {"window_s": 4.0, "context_s": 0.5, "restore_level": False}
    return EnhanceLLaSE.from_hparams(
        "llase", overrides={**files, **sizes}, run_opts={"device": "cpu"}
    )


def test_full_size_export(folder):
    """In two windows: 1e-4 of the peak, weights outside of the graphs."""
    from speechbrain_llase.export.enhance import ExportedModel
    from speechbrain_llase.export.folder import export_model

    noisy = np.load(SHARED / "full.npz")["noisy"] / np.float32(32768)
    official = folder / "official"
    enhancer = load_stand_in(official)
    wav = torch.from_numpy(noisy.astype(np.float32))
    expected = enhancer.enhance_batch(wav[None])[0].numpy()
    exported = folder / "exported"
    exported.mkdir()
    export_model(enhancer, exported)
    del enhancer
    for name in ("frontend", "token_lm", "vocoder"):
        graph = (exported / f"{name}.onnx").stat().st_size
        weights = (exported / f"{name}.onnx.data").stat().st_size
        assert graph < 5e6 and weights > 3e8
        print(f"{name}: {graph / 1e6:.1f} MB and {weights / 1e9:.2f} GB")
    found = ExportedModel(exported, threads=1)(wav.numpy())
    difference, peak = np.abs(found - expected).max(), np.abs(expected).max()
    print(f"largest difference: {difference:.1e} of a peak of {peak:.2f}")
    assert difference < 1e-4 * peak
