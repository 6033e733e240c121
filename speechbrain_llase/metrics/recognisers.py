"""Recognisers: what a wave says, offline or by a SpeechBrain model."""

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from speechbrain_llase.metrics.checks import (
    Wave,
    check_rate,
    check_wave,
    import_package,
    load_interface,
)
from speechbrain_llase.metrics.whisper import WhisperReader, find_whisper
from speechbrain_llase.processing.framing import SAMPLE_RATE

OFFLINE_ASR = "pocketsphinx"
HUB_ASR = "speechbrain/asr-crdnn-rnnlm-librispeech"
Reader = Callable[[Wave, int], str]  # wave (T,) and its rate -> words


class PocketsphinxReader:
    """The default English model that lies inside pocketsphinx 5.

    A fresh decoder for every wave, one utterance per wave. A weak recogniser,
    but it needs no download.

    Raises
    ------
    ImportError
        If pocketsphinx is not installed.
    """

    name = OFFLINE_ASR

    def __init__(self):
        self._package = import_package("pocketsphinx", "'pocketsphinx>=5,<6'")

    def __call__(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> str:
        """Recognise (T,) floating within [-1, 1] at 16 kHz, rounded to 16 bit.

        Gives empty text where nothing was recognised.
        """
        samples = to_int16(check_wave(wav, sample_rate))
        decoder = self._package.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""


class SpeechBrainReader:
    """A SpeechBrain recogniser: any with `transcribe_batch`.

    Arguments
    ---------
    asr : speechbrain.inference.interfaces.Pretrained
        EncoderDecoderASR, EncoderASR or the like, at 16 kHz.
    name : str
        What it is called in reports and caches.

    Raises
    ------
    ValueError
        If the recogniser takes another sample rate.
    """

    def __init__(self, asr, name: str):
        check_rate(asr)
        self._asr = asr
        self.name = name

    def __call__(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> str:
        """Recognise (T,) floating within [-1, 1] at 16 kHz."""
        wavs = torch.from_numpy(check_wave(wav, sample_rate).copy())[None]
        words = self._asr.transcribe_batch(wavs, torch.ones(1))[0]
        return words[0] if isinstance(words[0], str) else " ".join(words[0])


class CachedReader:
    """Keep what a recogniser read, one small file per wave.

    Arguments
    ---------
    reader : Reader
        Recogniser with a `name`.
    folder : Path
        Where to keep the readings; made if missing. Safe to be shared by
        several processes.
    """

    def __init__(self, reader: Reader, folder: Path):
        self._reader = reader
        self.name = reader.name
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> str:
        """Recognise (T,), or recall what was read in it before."""
        wav = check_wave(wav, sample_rate)
        key = hashlib.sha256(self.name.encode() + b"\0" + wav.tobytes())
        file = self._folder / f"{key.hexdigest()}.txt"
        if file.is_file():
            return file.read_text("utf-8")
        text = self._reader(wav, sample_rate)
        partial = file.with_suffix(f".{secrets.token_hex(8)}.partial")
        with open(partial, "x", encoding="utf-8") as new:  # through no link
            new.write(text)
        os.replace(partial, file)
        return text


def load_reader(name: str, device: str = "cpu") -> Reader:
    """Load a recogniser.

    Warning: a SpeechBrain model's YAML runs code; load only models of people
    whom you trust.

    Arguments
    ---------
    name : str
        "pocketsphinx", "whisper" (tiny.en), "whisper:NAME" or
        "whisper:FOLDER" (see `WhisperReader`), else a folder or a hub id of a
        SpeechBrain model (EncoderDecoderASR, else EncoderASR).
    device : str
        Of a SpeechBrain model.

    Returns
    -------
    reader : Reader

    Raises
    ------
    ImportError
        If pocketsphinx is asked for and not installed.
    ValueError
        If the model cannot be fetched or is none of these.
    """
    if name == OFFLINE_ASR:
        return PocketsphinxReader()
    whisper = find_whisper(name)
    if whisper:
        return WhisperReader(whisper, device)
    return SpeechBrainReader(load_asr(name, device), name)


def load_asr(source: str, device: str = "cpu"):
    """Load a SpeechBrain recogniser from a folder or the hub.

    Gives an EncoderDecoderASR or an EncoderASR, the first that fits; a
    ValueError, if it cannot be fetched or fits neither.
    """
    from speechbrain.inference.ASR import EncoderASR, EncoderDecoderASR

    interfaces = (EncoderDecoderASR, EncoderASR)
    return load_interface(interfaces, source, device, OFFLINE_ASR)


def to_int16(wav: np.ndarray) -> np.ndarray:
    """Round (T,) float within [-1, 1] to 16 bit."""
    return np.round(wav * 32767).astype(np.int16)
