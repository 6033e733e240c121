"""Files in every format and with every defect, for tests of reading."""

import struct
from pathlib import Path

import av
import media
import numpy as np
import soundfile as sf

PLAIN = [  # ending, format, subtype, rate
    ("wav", "WAV", "PCM_16", 8000),
    ("wav", "WAV", "PCM_16", 44100),
    ("wav", "WAV", "PCM_24", 48000),
    ("wav", "WAV", "FLOAT", 22255),
    ("wav", "WAV", "ULAW", 8012),
    ("wav", "WAV", "IMA_ADPCM", 16000),
    ("wav", "WAV", "MS_ADPCM", 22050),
    ("wav", "RF64", "PCM_16", 44100),
    ("w64", "W64", "PCM_24", 44056),
    ("caf", "CAF", "PCM_16", 44099),
    ("aif", "AIFF", "PCM_16", 11127),
    ("au", "AU", "PCM_16", 8013),
    ("flac", "FLAC", "PCM_16", 44100),
    ("flac", "FLAC", "PCM_24", 48000),
    ("mp3", "MP3", "MPEG_LAYER_III", 44100),
    ("mp3", "MP3", "MPEG_LAYER_III", 22050),
    ("ogg", "OGG", "VORBIS", 44100),
    ("opus", "OGG", "OPUS", 48000),
]
SIZES = {  # container: mark, bytes after it, form, beside samples
    "WAV": (b"data", 4, "<I", 0),
    "RF64": (b"ds64", 16, "<Q", 0),
    "W64": (b"data\xf3", 16, "<Q", 24),
    "CAF": (b"data", 4, ">q", 4),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
}


def noise(seconds, rate, channels=1, seed=0):
    """(T, C), smooth enough for codecs of low rates."""
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal((round(seconds * rate), channels))
    kernel = np.hanning(max(3, rate // 1000))
    wave = [np.convolve(x, kernel / kernel.sum(), "same") for x in wave.T]
    return 0.2 * np.stack(wave, 1).astype(np.float32)


def restated(data, container, value):
    """A file whose header states another size; None: it does not know."""
    mark, after, form, more = SIZES[container]
    data, place = bytearray(data), data.index(mark) + after
    most = -1 if form[1] == "q" else (1 << 8 * struct.calcsize(form)) - 1
    (true,) = struct.unpack_from(form, data, place)
    size = most if value is None else more + int(value * (true - more))
    struct.pack_into(form, data, place, size)
    return bytes(data)


def write_plain(folder: Path, seconds: float) -> dict[str, float | None]:
    """Write what libsndfile reads: seconds by name; None where FFmpeg knows."""
    found = {}

    def put(name, data, length=None):
        (folder / name).write_bytes(data)
        found[name] = length

    for k, (ending, container, subtype, rate) in enumerate(PLAIN):
        for channels in (1, 2):
            stem = f"{k:02}-{channels}"
            path = folder / f"{stem}.{ending}"
            wave = noise(seconds, rate, channels, k)
            sf.write(path, wave, rate, subtype, format=container)
            data, length = path.read_bytes(), decoded_s(path)
            found[path.name] = length
            put(f"{stem}-tag.{ending}", data + b"TAG" + bytes(125), length)
            for share in (0.9, 0.5, 0.2):
                put(f"{stem}-{share}.{ending}", data[: int(share * len(data))])
            if container in SIZES:
                values = {"zero": 0, "pipe": None, "small": 0.1, "large": 3}
                for name, value in values.items():
                    new = restated(data, container, value)
                    put(f"{stem}-{name}.{ending}", new, length)
    return found


def write_coded(folder: Path, seconds: float) -> list[str]:
    """Write what FFmpeg reads, whole and cut short: names."""
    names = []
    for ending, (codec, box, rate) in media.FORMATS.items():
        for channels in (
            (1, 2) if "amr" not in codec and codec != "g722" else (1,)
        ):
            stem = f"{ending[:4]}{channels}"
            name = f"{stem}.{ending}"
            wave = noise(seconds, rate, channels)
            media.write_media(folder / name, [wave.T], rate, codec, box)
            data = (folder / name).read_bytes()
            names.append(name)
            for share in (0.9, 0.5):
                cut = f"{stem}-{share}.{ending}"
                (folder / cut).write_bytes(data[: int(share * len(data))])
                names.append(cut)
    return names


def decoded_s(path: Path) -> float | None:
    """Seconds that FFmpeg decodes; None where it cannot open a file."""
    samples = rate = 0
    try:
        with av.open(str(path)) as file:
            stream = file.streams.audio[0]
            packets = file.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    for frame in packet.decode():
                        samples += frame.samples
                        rate = frame.sample_rate
                except av.error.FFmpegError:
                    if packet is None:
                        break
    except (av.error.FFmpegError, IndexError):
        pass
    return samples / rate if rate else None
