"""Files of sound and films, written by PyAV, for tests."""

from fractions import Fraction

import av
import numpy as np

# ending -> codec, container where FFmpeg would choose another, rate
FORMATS = {
    "m4a": ("aac", "ipod", 44100),
    "mp4": ("aac", "mp4", 48000),
    "aac": ("aac", "adts", 44100),
    "webm": ("libopus", "webm", 48000),
    "mkv": ("flac", "matroska", 44100),
    "mka": ("libmp3lame", "matroska", 44100),
    "mov": ("pcm_s16le", "mov", 44100),
    "wma": ("wmav2", "asf", 44100),
    "ac3": ("ac3", "ac3", 48000),
    "amr": ("libopencore_amrnb", "amr", 8000),
    "3gp": ("libopencore_amrnb", "3gp", 8000),
    "wv": ("wavpack", "wv", 44100),
    "tta": ("tta", "tta", 44100),
    "avi": ("mp2", "avi", 44100),
    "flv": ("libmp3lame", "flv", 44100),
    "oga": ("flac", "ogg", 44100),
    "g722.wav": ("g722", "wav", 16000),
}


def write_media(path, waves, rate, codec, container=None, picture=False):
    """Write sound tracks, float (C, T) each, and perhaps a picture before."""
    with av.open(str(path), "w", format=container) as out:
        film = out.add_stream("mpeg4", rate=10) if picture else None
        if film:
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        for wave in waves:
            layout = "mono" if len(wave) == 1 else "stereo"
            stream = out.add_stream(codec, rate=rate, layout=layout)
            rates = {"libopencore_amrnb": 12200, "wmav2": 64000}
            if codec in rates:
                stream.bit_rate = rates[codec]
        if film:
            for k in range(round(10 * waves[0].shape[1] / rate)):
                image = np.full((48, 64, 3), 20 * k % 255, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                out.mux(film.encode(frame))
            out.mux(film.encode(None))
        for stream, wave in zip(out.streams.audio, waves):
            for packet in encode(stream, wave, rate):
                out.mux(packet)


def encode(stream, wave, rate):
    """Packets of one track."""
    context = stream.codec_context
    layout = context.layout.name
    resampler = av.AudioResampler(
        context.format.name, layout, rate, context.frame_size or 1024
    )
    packed = np.ascontiguousarray(wave, np.float32).T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed.copy(), "flt", layout)
    frame.sample_rate, frame.pts = rate, 0
    frame.time_base = Fraction(1, rate)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(part)
    yield from stream.encode(None)
