"""Reading: what is there, all of it, and nothing else, of any file."""

import io
import struct
import sys

import av
import media
import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from speechbrain_llase.dataio import media_file
from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.chunk_sizes import find_samples
from speechbrain_llase.dataio.flac_frames import find_flac
from speechbrain_llase.dataio.mpeg_frames import find_mpeg

RATE = 16000


def read(source, **kwargs):
    """Samples, and what was told of them."""
    told = []
    blocks = list(read_blocks(source, RATE, warn=told.append, **kwargs))
    return torch.cat(blocks), told


def noise(seconds=2.0, rate=RATE, channels=1, seed=0):
    """(T, C), smooth enough for codecs of low rates."""
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal((round(seconds * rate), channels))
    kernel = np.hanning(max(3, rate // 1000))
    wave = [np.convolve(x, kernel / kernel.sum(), "same") for x in wave.T]
    return 0.2 * np.stack(wave, 1).astype(np.float32)


@pytest.fixture
def no_av(monkeypatch):
    """As where PyAV is not installed."""
    monkeypatch.setattr(media_file, "has_av", lambda: False)


# -- rates -------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate", [8000, 8012, 8013, 11127, 16000, 22050, 22254, 22255, 44056]
    + [44099, 44100, 48000, 192000]
)  # fmt: skip
@pytest.mark.parametrize("seconds", [0.01, 16.01])
def test_any_rate_is_the_whole_file(tmp_path, rate, seconds):
    """In blocks what soxr makes of the whole."""
    wave = noise(seconds, rate)
    sf.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    found, told = read(tmp_path / "a.wav")
    whole = (
        wave[:, 0] if rate == RATE else soxr.resample(wave[:, 0], rate, RATE)
    )
    assert not told and abs(len(found) - len(wave) * RATE / rate) < 1
    torch.testing.assert_close(
        found, torch.from_numpy(whole), atol=1e-6, rtol=0
    )


def test_a_tone_keeps_its_place_and_none_is_invented(tmp_path):
    """1 kHz stays in phase; 15 kHz, above what is kept, is gone."""
    time = np.arange(44099) / 44099
    for freq, least in ((1000, 0.4999), (15000, 0)):
        wave = 0.5 * np.sin(2 * np.pi * freq * time)
        sf.write(tmp_path / "a.wav", wave, 44099, subtype="FLOAT")
        found = read(tmp_path / "a.wav")[0].numpy()[2000:-2000]
        expected = 0.5 * np.sin(2 * np.pi * freq * np.arange(16000) / RATE)
        expected = expected[2000:14000] * (least > 0)
        assert np.abs(found - expected[: len(found)]).max() < 1e-4


@pytest.mark.parametrize("rate", [1, 999, 4_000_000])
def test_a_rate_that_no_recording_has(tmp_path, rate):
    sf.write(tmp_path / "a.wav", noise(0.1), rate)
    with pytest.raises(ValueError, match=f"a.wav has a sample rate of {rate}"):
        read(tmp_path / "a.wav")


# -- lengths that headers state ----------------------------------------------

FIELDS = {  # (format, subtype): mark, bytes after it, form, beside samples
    ("WAV", "PCM_16"): (b"data", 4, "<I", 0),
    ("WAV", "PCM_24"): (b"data", 4, "<I", 0),
    ("WAV", "FLOAT"): (b"data", 4, "<I", 0),
    ("WAV", "ULAW"): (b"data", 4, "<I", 0),
    ("WAV", "IMA_ADPCM"): (b"data", 4, "<I", 0),
    ("WAV", "MS_ADPCM"): (b"data", 4, "<I", 0),
    ("WAV", "GSM610"): (b"data", 4, "<I", 0),
    ("RF64", "PCM_16"): (b"ds64", 16, "<Q", 0),
    ("W64", "PCM_24"): (b"data\xf3", 16, "<Q", 24),
    ("CAF", "PCM_16"): (b"data", 4, ">q", 4),
    ("AIFF", "PCM_16"): (b"SSND", 4, ">I", 8),
    ("AU", "PCM_16"): (b".snd", 8, ">I", 0),
}


def container(kind, channels):
    """A whole file of 2 s as bytes, and what its samples are."""
    file = io.BytesIO()
    sf.write(file, noise(2, RATE, channels), RATE, kind[1], format=kind[0])
    data = file.getvalue()
    mark, after, form, more = FIELDS[kind]
    return bytearray(data), data.index(mark) + after, form, more


@pytest.mark.parametrize("kind", FIELDS, ids="-".join)
@pytest.mark.parametrize("stated", ["0", "unknown", "small", "large"])
def test_all_samples_are_read_whatever_is_stated(no_av, kind, stated):
    """And it is told; nothing is told of a header that is right."""
    data, place, form, more = container(kind, 1)
    whole, told = read(io.BytesIO(bytes(data)))
    assert not told and abs(len(whole) - 32000) < 1000
    most = -1 if form[1] == "q" else (1 << 8 * struct.calcsize(form)) - 1
    (true,) = struct.unpack_from(form, data, place)
    value = {"0": 0, "unknown": most, "small": more + 1200, "large": 3 * true}
    struct.pack_into(form, data, place, value[stated])
    found, told = read(io.BytesIO(bytes(data)))
    assert torch.equal(found, whole)
    assert len(told) == 1 and "its header" in told[0]
    if stated in ("small", "large"):
        assert f"{len(whole) / RATE:g} s are there" in told[0]


@pytest.mark.parametrize("kind", FIELDS, ids="-".join)
def test_a_container_cut_short(no_av, kind):
    """What exists is read; both lengths are told."""
    data, *_ = container(kind, 2 if kind[1] != "GSM610" else 1)
    whole, _ = read(io.BytesIO(bytes(data)))
    found, told = read(io.BytesIO(bytes(data[: len(data) // 2])))
    assert 0.9 < len(found) / 16000 < 1.05 and len(told) == 1
    assert torch.equal(found[:14000], whole[:14000])
    assert "its header counts" in told[0]


@pytest.mark.parametrize(
    "rest", [b"LIST\4\0\0\0INFO", b"TAG" + bytes(125), bytes(512), b"\0"]
)
def test_what_stands_behind_samples_is_none(no_av, rest):
    """Chunks, tags and padding are no sound."""
    data, *_ = container(("WAV", "PCM_16"), 1)
    whole, _ = read(io.BytesIO(bytes(data)))
    found, told = read(io.BytesIO(bytes(data) + rest))
    assert torch.equal(found, whole) and not told


def test_more_than_4_gib(tmp_path, no_av):
    """A size that wrapped; what stands after the samples is left out."""
    path = tmp_path / "long.wav"
    held = (1 << 32) + 48000
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 48036, b"WAVE", b"fmt ", 16, 1, 1,
        2_000_000, 4_000_000, 2, 16, b"data", held - (1 << 32),
    )  # fmt: skip
    with path.open("wb") as file:  # a hole takes no room on the disk
        file.write(head)
        file.seek(len(head) + held)
        file.write(b"LIST\4\0\0\0INFO")
    count, told = 0, []
    for block in read_blocks(path, RATE, warn=told.append):
        count += len(block)
        if count > 3 * RATE:
            break
    assert count > 3 * RATE  # the size alone says 0.012 s
    with path.open("rb") as file:
        assert find_samples(file).held == held


# -- MP3 ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def mp3(tmp_path_factory):
    """30 s of two rates of bits: with a tag that counts, and without one."""
    folder = tmp_path_factory.mktemp("mp3")
    sf.write(
        folder / "tag.mp3", noise(30, 44100), 44100, bitrate_mode="VARIABLE"
    )
    data = (folder / "tag.mp3").read_bytes()
    with (folder / "tag.mp3").open("rb") as file:
        mpeg = find_mpeg(file)
    assert mpeg.stated == mpeg.frames
    end = mpeg.start + mpeg.first.length
    (folder / "none.mp3").write_bytes(data[end:])
    return folder


@pytest.mark.parametrize("share", [0.5, 0.1, 0.9])
def test_half_an_mp3_is_half_as_long(no_av, mp3, tmp_path, capfd, share):
    """Not the last block again and again, and the same each time."""
    data = (mp3 / "tag.mp3").read_bytes()
    path = tmp_path / "cut.mp3"
    path.write_bytes(data[: int(share * len(data))])
    found, told = read(path)
    assert abs(len(found) / RATE - 30 * share) < 1.5
    again, _ = read(path)
    assert torch.equal(found, again) and float(found.abs().max()) < 1
    assert len(told) == 1 and "its header counts 30" in told[0]
    assert f"{len(found) / RATE:.6f}"[:4] in told[0]
    assert "Xing" not in capfd.readouterr().err


@pytest.mark.parametrize("stated", [1, 100, 1_000_000])
def test_an_mp3_that_counts_wrongly(no_av, mp3, tmp_path, stated):
    data = bytearray((mp3 / "tag.mp3").read_bytes())
    whole, _ = read(io.BytesIO(bytes(data)))
    with (mp3 / "tag.mp3").open("rb") as file:
        struct.pack_into(">I", data, find_mpeg(file).tag + 8, stated)
    found, told = read(io.BytesIO(bytes(data)))
    assert torch.equal(found, whole) and len(told) == 1


def test_an_mp3_that_counts_nothing(no_av, mp3):
    """Its length is not guessed by the first frames."""
    found, told = read(mp3 / "none.mp3")
    assert abs(len(found) / RATE - 30) < 0.1 and not told


def test_two_mp3_in_one(no_av, mp3):
    data = (mp3 / "tag.mp3").read_bytes()
    found, told = read(io.BytesIO(data + data))
    assert abs(len(found) / RATE - 60) < 0.1 and len(told) == 1


def test_an_mp3_with_tags_around(no_av, mp3):
    """A picture before, a tag after, junk between."""
    data = (mp3 / "tag.mp3").read_bytes()
    whole, _ = read(io.BytesIO(data))
    before = b"ID3\3\0\0\0\0\x10\0" + bytes(2048)
    found, told = read(io.BytesIO(before + data + b"TAG" + bytes(125)))
    assert torch.equal(found, whole) and not told


# -- FLAC and Ogg ------------------------------------------------------------


@pytest.fixture(scope="module")
def flac(tmp_path_factory):
    path = tmp_path_factory.mktemp("flac") / "a.flac"
    sf.write(path, noise(10, 44100), 44100)
    return path


@pytest.mark.parametrize("stated", [0, 1000, 1 << 30])
def test_a_flac_that_counts_wrongly(no_av, flac, stated):
    data = bytearray(flac.read_bytes())
    whole, told = read(flac)
    assert not told and abs(len(whole) - 10 * RATE) <= 1
    data[21] &= 0xF0
    data[22:26] = stated.to_bytes(4, "big")
    found, told = read(io.BytesIO(bytes(data)))
    assert torch.equal(found, whole)
    assert len(told) == (stated > 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_flac_cut_short(no_av, flac, tmp_path, share):
    path = tmp_path / "cut.flac"
    data = flac.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    found, told = read(path)
    assert share * 10 - 0.4 < len(found) / RATE < share * 10 + 0.4
    assert len(told) == 1 and "its header counts 10 s" in told[0]
    with path.open("rb") as file:
        assert find_flac(file).stated == 441000


def test_damage_within_a_flac(flac, tmp_path, monkeypatch):
    """FFmpeg reads on behind it; without it, the way out is told."""
    data = bytearray(flac.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    path = tmp_path / "damaged.flac"
    path.write_bytes(data)
    found, told = read(path)
    assert 9.5 < len(found) / RATE <= 10
    assert "damaged, " in told[0]
    monkeypatch.setattr(media_file, "has_av", lambda: False)
    with pytest.raises(ValueError, match=r"damaged\.flac.*\[formats\]"):
        read(path)


def test_two_streams_in_one_ogg(tmp_path, monkeypatch):
    sf.write(tmp_path / "a.ogg", noise(3, 44100), 44100)
    data = (tmp_path / "a.ogg").read_bytes()
    (tmp_path / "b.ogg").write_bytes(data + data)
    found, _ = read(tmp_path / "b.ogg")
    assert abs(len(found) / RATE - 6) < 0.1
    monkeypatch.setattr(media_file, "has_av", lambda: False)
    found, told = read(tmp_path / "b.ogg")
    assert abs(len(found) / RATE - 3) < 0.1 and "first of 2" in told[0]


# -- formats of FFmpeg -------------------------------------------------------


@pytest.mark.parametrize("ending", media.FORMATS)
def test_formats_that_libsndfile_does_not_read(tmp_path, monkeypatch, ending):
    """The sound is there, in its place; without PyAV, how to get it."""
    codec, box, rate = media.FORMATS[ending]
    wave = noise(3, rate)
    path = tmp_path / f"ä b.{ending}"
    media.write_media(path, [wave.T], rate, codec, box)
    found, told = read(path)
    assert abs(len(found) / RATE - 3) < 0.1 and not told
    expected = soxr.resample(wave[:, 0], rate, RATE)
    span = np.correlate(found[8000:16000].numpy(), expected[8000:16000], "full")
    shift = abs(int(span.argmax()) - 7999)
    assert shift < 0.05 * RATE, "shifted"
    again, _ = read(io.BytesIO(path.read_bytes()))
    assert torch.equal(found, again)
    monkeypatch.setattr(media_file, "has_av", lambda: False)
    try:
        read(path)
    except ValueError as err:
        assert str(path) in str(err) and 'pip install "sp' in str(err)
    else:
        assert ending == "oga"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_the_sound_tracks_of_a_film(tmp_path, ending):
    """The first one, or the one that is asked for."""
    tracks = [noise(2, 48000, 1, k).T * (1 + k) for k in range(2)]
    path = tmp_path / f"film.{ending}"
    media.write_media(path, tracks, 48000, "aac", picture=True)
    first, told = read(path)
    second, _ = read(path, taken=Taken(track=2))
    assert told == ["sound track 1 of 2"]
    assert float(second.std() / first.std()) == pytest.approx(2, rel=0.1)
    with pytest.raises(ValueError, match="has 2 sound tracks; track 3"):
        read(path, taken=Taken(track=3))


def test_a_film_without_sound(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as out:
        film = out.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(
                np.zeros((48, 64, 3), np.uint8), "rgb24"
            )
            out.mux(film.encode(frame))
        out.mux(film.encode(None))
    with pytest.raises(ValueError, match=r"silent\.mp4 has no sound track"):
        read(path)


def test_an_m4a_cut_short(tmp_path):
    """Its header, which stands first, counts more than there is."""
    path = tmp_path / "a.m4a"
    wave = noise(10, 44100)
    with av.open(
        str(path), "w", format="ipod", options={"movflags": "faststart"}
    ) as out:
        stream = out.add_stream("aac", rate=44100, layout="mono")
        for packet in media.encode(stream, wave.T, 44100):
            out.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    found, told = read(path)
    assert 4 < len(found) / RATE < 7
    assert any("its header counts 10" in text for text in told)


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.wav", "a.txt"])
def test_playlists_open_no_other_file(tmp_path, name):
    """Whoever uploads one must not read this machine's files with it."""
    sf.write(tmp_path / "secret.wav", noise(2), RATE)
    for text in (
        f"#EXTM3U\n#EXTINF:2,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n",
        "v=0\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="cannot be read as audio"):
            read(tmp_path / name)


# -- channels ----------------------------------------------------------------


def stereo(tmp_path, *channels):
    path = tmp_path / "a.wav"
    sf.write(path, np.stack(channels, 1), RATE, subtype="FLOAT")
    return path


def test_channels_are_averaged(tmp_path):
    """To the last bit what the mean of the whole is."""
    wave = noise(20, RATE, 3)
    found, told = read(stereo(tmp_path, *wave.T))
    assert torch.equal(found, torch.from_numpy(wave).mean(1)) and not told


@pytest.mark.parametrize("part", [1.0, 0.5])
def test_antiphase_is_not_silence(tmp_path, part):
    """The strongest channel is taken, with a warning; a half is enough."""
    left = noise(8)[:, 0]
    right = -0.8 * left
    right[int(part * len(left)) :] *= -1
    found, told = read(stereo(tmp_path, left, right))
    assert torch.equal(found, torch.from_numpy(left))
    assert told == [
        "its channels cancel each other; channel 1 of 2, the strongest, is taken"
    ]


@pytest.mark.parametrize("kind", ["unlike", "one silent", "like", "silence"])
def test_channels_that_do_not_cancel(tmp_path, kind):
    left, other = noise(8)[:, 0], noise(8, seed=5)[:, 0]
    pair = {
        "unlike": (left, other),
        "one silent": (left, 0 * left),
        "like": (left, 0.5 * left),
        "silence": (0 * left, 0 * left),
    }[kind]
    found, told = read(stereo(tmp_path, *pair))
    mean = torch.from_numpy(np.stack(pair, 1)).mean(1)
    assert torch.equal(found, mean) and not told


def test_pauses_say_nothing_about_channels(tmp_path):
    """Faint antiphase hum in long pauses, speech in phase."""
    left = noise(20)[:, 0]
    left[2 * RATE :] *= 1e-3
    right = left.copy()
    right[2 * RATE :] *= -1
    assert not read(stereo(tmp_path, left, right))[1]


def test_one_channel_or_each(tmp_path):
    wave = noise(2, 44100, 3)
    sf.write(tmp_path / "a.wav", wave, 44100, subtype="FLOAT")
    each, _ = read(tmp_path / "a.wav", taken=Taken("each"))
    assert each.shape == (32000, 3)
    second, told = read(tmp_path / "a.wav", taken=Taken(2))
    assert torch.equal(second, each[:, 1]) and not told
    with pytest.raises(ValueError, match="3 channels; channel 4 is not"):
        read(tmp_path / "a.wav", taken=Taken(4))


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"channels": "all"}, {"track": 0}, {"channels": True}],
)
def test_what_cannot_be_taken(wrong):
    with pytest.raises(ValueError, match="must be"):
        Taken(**wrong)


# -- what is no audio --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.wav", b"", "the file is empty"),
        ("a.mp3", b"<!DOCTYPE html><html>404", "a web page"),
        ("a.flac", b"version https://git-lfs.github.com", "Git LFS"),
        ("a.au", b"no header at all" * 100, "cannot be read as audio"),
        ("a.raw", bytes(3000), "cannot be read as audio"),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "cannot be read as audio"),
        ("a.flac", b"fLaC\0\0\0", "cannot be read as audio"),
        ("a.m4a", b"\0\0\0\x20ftypM4A ", "cannot be read as audio"),
    ],
)
@pytest.mark.parametrize("with_av", [True, False])
def test_errors_name_the_file(
    tmp_path, monkeypatch, name, data, reason, with_av
):
    monkeypatch.setattr(media_file, "has_av", lambda: with_av)
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "exist" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.wav cannot be read: No such"):
        read(tmp_path / "none.wav")


def test_reading_needs_no_av(tmp_path, monkeypatch):
    """WAV is read where PyAV is missing."""
    monkeypatch.setitem(sys.modules, "av", None)
    sf.write(tmp_path / "a.wav", noise(1), RATE)
    assert len(read(tmp_path / "a.wav")[0]) == RATE
