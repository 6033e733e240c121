"""Enhance a file, read it with a SpeechBrain recogniser, print both readings.

    python examples/enhance_then_transcribe.py noisy.wav
    python examples/enhance_then_transcribe.py noisy.wav --asr FOLDER_OR_HUB_ID

The recogniser is fetched from the Hugging Face hub unless --asr names a
folder. Look at both readings before you rely on the second: a generative
enhancer can change words. `speechbrain-llase evaluate --asr` measures it.
"""

import argparse
import sys

import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.metrics import check_rate
from speechbrain_llase.metrics.recognisers import HUB_ASR, load_asr


def main(argv: list[str] | None = None) -> int:
    """Run the example.

    Arguments
    ---------
    argv : list[str] | None
        Arguments; those of the command line if None.

    Returns
    -------
    int
        0, or 1 if the file or a model cannot be used.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("noisy", help="audio file")
    parser.add_argument("--source", default="llase_mini", help="the enhancer")
    parser.add_argument("--asr", default=HUB_ASR, help="folder or hub id")
    parser.add_argument("--device", default="cpu", help="of both")
    args = parser.parse_args(argv)
    try:
        without, with_it = transcribe(
            args.noisy, args.source, args.asr, args.device
        )
    except (ValueError, OSError, RuntimeError) as err:
        print(f"error: {' '.join(str(err).split())}", file=sys.stderr)
        return 1
    print(f"noisy:    {without}\nenhanced: {with_it}")
    return 0


def transcribe(
    path: str, source: str, asr_source: str, device: str
) -> tuple[str, str]:
    """Read a file without and with enhancement.

    Arguments
    ---------
    path : str
        Audio file.
    source : str
        Enhancer, as `EnhanceLLaSE.from_hparams` takes it.
    asr_source : str
        Folder or hub id of an `EncoderDecoderASR` or `EncoderASR`.
    device : str
        Of both models.

    Returns
    -------
    without, with_it : str
        The two readings.
    """
    enhancer = EnhanceLLaSE.from_hparams(source, run_opts={"device": device})
    asr = load_asr(asr_source, device)
    check_rate(asr, enhancer.hparams.sample_rate)  # refuse, never resample
    noisy = enhancer.load_audio(path).unsqueeze(0)  # (1, T)
    lengths = torch.ones(1)
    without, _ = asr.transcribe_batch(noisy, lengths)
    with_it, _ = asr.transcribe_batch(
        enhancer.enhance_batch(noisy, lengths), lengths
    )
    return without[0], with_it[0]


if __name__ == "__main__":
    sys.exit(main())
