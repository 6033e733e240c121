"""Films: the picture stays to the last bit beside another sound."""

import av
import media
import numpy as np
import odd_files
import pytest
import soundfile as sf
import torch
from copier import Copier, describe_run
from local_runs import enhance, make_inputs

from speechbrain_llase.bulk import storage
from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.bulk.worker import Worker
from speechbrain_llase.dataio import films
from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.audio_writer import write_whole
from speechbrain_llase.dataio.films import add_picture


def packets(path):
    """Bytes and times of the packets of a picture."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.video
        return [
            (bytes(packet), float(packet.pts * packet.time_base))
            for packet in file.demux(stream)
            if packet.size
        ]


@pytest.fixture
def film(tmp_path):
    """4 s with a picture and two sound tracks."""
    tracks = [odd_files.noise(4, 48000, 1, k).T for k in range(2)]
    path = tmp_path / "clip.mp4"
    media.write_media(path, tracks, 48000, "aac", picture=True)
    return path


def sound(path, seconds=4.0):
    """A sound in a container, as results are written."""
    wave = odd_files.noise(seconds, 16000, 1, 9)
    media.write_media(path, [wave.T], 16000, "aac")
    return torch.cat(list(read_blocks(path, 16000)))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "MP4"])
def test_the_picture_is_copied(film, tmp_path, ending):
    """Packets and times; the sound is the new one, as long as it was."""
    path = tmp_path / f"out.{ending}"
    if ending == "MP4":
        sound(tmp_path / "out.mp4")
        (tmp_path / "out.mp4").rename(path)
        alone = torch.cat(list(read_blocks(path, 16000)))
    else:
        alone = sound(path)
    add_picture(path, film)
    was, now = packets(film), packets(path)
    assert [data for data, _ in now] == [data for data, _ in was]
    np.testing.assert_allclose(
        [t for _, t in now], [t for _, t in was], atol=2e-3
    )
    found = torch.cat(list(read_blocks(path, 16000)))
    assert torch.equal(found, alone)
    with av.open(str(path)) as file:
        assert len(file.streams.audio) == 1
    assert {p.name for p in tmp_path.iterdir()} <= {"clip.mp4", path.name}


def test_a_sound_that_begins_later(tmp_path):
    """It stays where it was beside the picture."""
    path, out = tmp_path / "late.mkv", tmp_path / "out.mkv"
    with av.open(str(path), "w") as file:
        picture = file.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        voice = file.add_stream("flac", rate=16000, layout="mono")
        for k in range(40):
            image = np.full((48, 64, 3), 6 * k, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            file.mux(picture.encode(frame))
        file.mux(picture.encode(None))
        for packet in media.encode(voice, odd_files.noise(2, 16000).T, 16000):
            packet.pts, packet.dts = packet.pts + 24000, packet.dts + 24000
            file.mux(packet)
    sound(out, 2.0)
    add_picture(out, path)
    with av.open(str(out)) as file:
        (stream,) = file.streams.audio
        start = float(next(file.demux(stream)).pts * stream.time_base)
    assert start == pytest.approx(1.5, abs=0.08)  # AAC has a lead of 0.064 s


def test_what_has_no_picture_stays_as_it_is(tmp_path):
    media.write_media(
        tmp_path / "a.m4a", [odd_files.noise(1, 16000).T], 16000, "aac", "ipod"
    )
    sound(tmp_path / "out.mp4", 1.0)
    data = (tmp_path / "out.mp4").read_bytes()
    add_picture(tmp_path / "out.mp4", tmp_path / "a.m4a")
    assert (tmp_path / "out.mp4").read_bytes() == data


def test_a_picture_that_a_container_cannot_hold(tmp_path):
    """The way out is told, and nothing is left."""
    film = tmp_path / "f.mkv"
    with av.open(str(film), "w") as file:
        picture = file.add_stream("libvpx", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        voice = file.add_stream("flac", rate=16000, layout="mono")
        frame = av.VideoFrame.from_ndarray(
            np.zeros((48, 64, 3), np.uint8), "rgb24"
        )
        file.mux(picture.encode(frame))
        file.mux(picture.encode(None))
        for packet in media.encode(voice, odd_files.noise(1, 16000).T, 16000):
            file.mux(packet)
    sound(tmp_path / "out.mp4", 1.0)
    with pytest.raises(ValueError, match=r"f\.mkv \(vp8\) cannot .*\.mkv"):
        add_picture(tmp_path / "out.mp4", film)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.mkv", "out.mp4"]
    sound(tmp_path / "out.mkv", 1.0)
    add_picture(tmp_path / "out.mkv", film)
    assert len(packets(tmp_path / "out.mkv")) == 1


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_film_is_enhanced(load_tiny, film, tmp_path, ending):
    """From Python, whole and as a stream: its picture, and our sound."""
    model = load_tiny(restore_level=True)
    for write in (model.enhance_file, model.stream_file):
        out = tmp_path / f"{write.__name__}.{ending}"
        write(film, out, track=2)
        assert [x for x, _ in packets(out)] == [x for x, _ in packets(film)]
        made = torch.cat(list(read_blocks(out, 16000)))
        assert abs(len(made) - 64000) < 1200 and made.any()
    model.enhance_file(film, tmp_path / "alone.wav")
    assert sf.info(tmp_path / "alone.wav").channels == 1


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_film_in_a_run(film, tmp_path, scheme):
    """Here and behind a URL, beside a plain sound."""
    source = str(film)
    if scheme:
        storage.write_bytes("memory://films/clip.mp4", film.read_bytes())
        source = "memory://films/clip.mp4"
    plain = tmp_path / "plain.wav"
    sf.write(plain, odd_files.noise(1, 16000), 16000)
    units = [
        Unit(source, str(tmp_path / "out"), "clip.mkv"),
        Unit(str(plain), str(tmp_path / "out"), "plain.mp4"),
    ]
    run = describe_run(Copier(), "m")
    worker = Worker(Copier(), run, InsideOptions(taken=Taken("each")))
    (tmp_path / "out").mkdir()
    folder = OutputFolder(str(tmp_path / "out"), "0123456789abcdef")
    ended = list(worker.enhance(units, folder))
    assert [records[-1].error for _, records in ended] == [None, None]
    out = tmp_path / "out"
    assert [x for x, _ in packets(out / "clip.mkv")] == [
        x for x, _ in packets(film)
    ]
    found = torch.cat(list(read_blocks(out / "clip.mkv", 16000)))
    assert abs(len(found) - 64000) < 1200 and found.any()
    plain = torch.cat(list(read_blocks(out / "plain.mp4", 16000)))
    assert 0 <= len(plain) - 16000 < 1024


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "new/out.mkv"])
@pytest.mark.parametrize("options", [[], ["--track", "2", "--keep-rate"]])
def test_a_film_on_the_command_line(
    film, tmp_path, monkeypatch, name, options, capsys
):
    """One command: the picture to the bit, and the track that was asked for."""
    make_inputs(tmp_path, monkeypatch)
    assert enhance(*options, inputs=["clip.mp4"], output=name) == 0
    was, now = packets(film), packets(name)
    assert [data for data, _ in now] == [data for data, _ in was]
    np.testing.assert_allclose(
        [t for _, t in now], [t for _, t in was], atol=2e-3
    )
    rate = 48000 if options else 16000
    with av.open(name) as made:
        assert [x.type for x in made.streams] == ["video", "audio"]
        assert made.streams.audio[0].rate == rate
    made = torch.cat(list(read_blocks(name, 16000)))
    track = Taken(track=2 if options else 1)
    was = torch.cat(list(read_blocks(film, 16000, track)))
    count = min(len(made), len(was))
    assert abs(len(made) - len(was)) < 1200
    alike = torch.nn.functional.cosine_similarity(
        made[:count], was[:count], dim=0
    )
    assert alike > 0.95
    assert enhance("--track", "3", inputs=["clip.mp4"], output="x.mp4") == 1
    assert "track 3 is not there" in capsys.readouterr().err
    assert not (tmp_path / "x.mp4").exists()


def test_films_in_a_folder(film, tmp_path, monkeypatch):
    """--format same: films stay films, sounds stay sounds."""
    make_inputs(tmp_path, monkeypatch)
    (tmp_path / "films").mkdir()
    film.rename("films/clip.mp4")
    sf.write("films/talk.flac", odd_files.noise(1, 16000), 16000)
    assert enhance("--format", "same", inputs=["films"]) == 0
    assert packets("out/clip.mp4") == packets("films/clip.mp4")
    assert sf.info("out/talk.flac").frames == 16000


def test_films_need_av(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "has_av", lambda: False)
    with pytest.raises(ValueError, match=r"\.mp4 cannot be .*\[formats\]"):
        write_whole(tmp_path / "a.mp4", [torch.zeros(100)], 16000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("length", [0, 1, 30000])
def test_sound_in_a_container(tmp_path, channels, length):
    """As long as it is, and alike."""
    wave = torch.from_numpy(odd_files.noise(2, 16000, channels))[:length]
    blocks = wave.split(7000) if channels > 1 else wave[:, 0].split(7000)
    write_whole(tmp_path / "a.mp4", blocks, 16000)
    if length < 1000:
        return
    found = list(read_blocks(tmp_path / "a.mp4", 16000, Taken("each")))
    found = torch.cat(found)
    assert 0 <= len(found) - length < 1024  # AAC's frames are whole
    found = found[:length]
    if channels < 6:
        assert (
            float((found - wave).square().mean() / wave.square().mean()) < 0.1
        )
