"""Make the pictures of README and docs again, from examples/noisy.wav.

python docs/make_pictures.py
"""

from pathlib import Path

import torch
from PIL import Image

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.evaluation.plot import (
    plot_enhancement,
    plot_spectrograms,
)
from speechbrain_llase.evaluation.plot_data import track_wave

DOCS = Path(__file__).parent
CLIP = DOCS.parent / "examples" / "noisy.wav"
CHUNK = 320  # samples of a stream's chunks, 20 ms


def main(folder: Path = DOCS) -> None:
    """Enhance the clip, and draw it into a folder that has `pictures/`."""
    enhancer = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    noisy = enhancer.load_audio(str(CLIP))
    enhanced, report = enhancer.enhance_file(CLIP, return_details=True)
    sample_rate = enhancer.hparams.sample_rate
    before_after = folder / "spectrograms.png"
    plot_spectrograms(noisy, enhanced, sample_rate, before_after)

    tracks = [track_wave(wav, sample_rate) for wav in (noisy, enhanced)]
    entropy = report.details.entropy.numpy()
    whole = folder / "pictures" / "enhancement.png"
    plot_enhancement(*tracks, whole, entropy, title="noisy.wav, llase_mini")

    tracks[1] = track_wave(stream(enhancer, noisy), sample_rate)
    streamed = folder / "pictures" / "stream.png"
    title = "A stream: windows of 1 s, context of 0.5 s"
    plot_enhancement(*tracks, streamed, title=title)
    for path in (before_after, whole, streamed):
        shrink(path)


def stream(enhancer: EnhanceLLaSE, noisy: torch.Tensor) -> torch.Tensor:
    """Enhance a wave as if it were being recorded."""
    running = enhancer.stream(window_s=1.0, context_s=0.5)
    parts = [running.push(chunk) for chunk in noisy.split(CHUNK)]
    return torch.cat([*parts, running.close()])


def shrink(path: Path) -> None:
    """Keep 256 colours of a PNG: a quarter of the size, no visible change."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
