"""Evaluation of files: matching, skipping, sums, intervals, reports."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.cli import evaluate as command
from speechbrain_llase.cli.parser import main
from speechbrain_llase.evaluation import scoring
from speechbrain_llase.evaluation.clips import (
    Clip,
    as_wave,
    find_clips,
    read_texts,
)
from speechbrain_llase.evaluation.dns2020 import (
    comparison,
    find_subsets,
    read_published,
)
from speechbrain_llase.evaluation.report import plot_distributions
from speechbrain_llase.evaluation.scoring import (
    Scorer,
    Scores,
    Settings,
    score_clips,
)
from speechbrain_llase.evaluation.summary import CHANGE, summarise, table
from speechbrain_llase.metrics import SISDR, check_level

RATE = 16000
QUICK = ["--without", "dnsmos", "pesq", "estoi", "words", "speaker"]
SETTINGS = Settings("pocketsphinx", "resemblyzer", tuple(QUICK[1:]))


def write(path, wave, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="FLOAT")


@pytest.fixture
def data(tmp_path):
    """Three clips: a and b in order, c without an enhanced file."""
    rng = np.random.default_rng(0)
    for name in ("a", "sub/b", "c"):
        clean = 0.1 * rng.standard_normal(8000)
        noise = 0.05 * rng.standard_normal(8000)
        write(tmp_path / f"clean/{name}.wav", clean)
        write(tmp_path / f"noisy/{name}.wav", clean + noise)
        if name != "c":
            write(tmp_path / f"enhanced/{name}.wav", clean + noise / 4)
    return tmp_path


def folders(data, *rows):
    return {row: data / row for row in rows}


def test_files_match_by_path(data):
    texts = {"sub/b": "some words"}
    clips, skipped = find_clips(folders(data, "noisy", "enhanced"), texts)
    assert [clip.name for clip in clips] == ["a", "sub/b"]
    assert clips[1].waves["enhanced"] == data / "enhanced/sub/b.wav"
    assert [clip.text for clip in clips] == [None, "some words"]
    assert [skip.clip for skip in skipped] == ["c"]
    assert str(data / "enhanced") in skipped[0].reason


def test_folders_that_do_not_match_are_refused(data):
    write(data / "other/z.wav", np.zeros(9))
    with pytest.raises(ValueError, match="No name is in all of"):
        find_clips(folders(data, "noisy", "other"))
    soundfile.write(data / "noisy" / "a.flac", np.zeros(9), RATE)
    with pytest.raises(ValueError, match="have one name"):
        find_clips(folders(data, "noisy", "enhanced"))
    with pytest.raises(ValueError, match="There is no folder"):
        find_clips(folders(data, "clean", "absent"))


def test_texts(tmp_path):
    file = tmp_path / "text"
    file.write_text("a  HELLO THERE\n\nsub/b\tyes \nc\n", "utf-8")
    assert read_texts(file) == {"a": "HELLO THERE", "sub/b": "yes ", "c": ""}
    file.write_text("a x\na y\n")
    with pytest.raises(ValueError, match="two texts for a"):
        read_texts(file)
    file.write_text("\n")
    with pytest.raises(ValueError, match="holds no text"):
        read_texts(file)


def test_other_rates_and_channels_are_brought_to_ours(tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    write(tmp_path / "x.wav", np.stack([tone, tone], 1), 48000)
    wave = as_wave(tmp_path / "x.wav")
    assert wave.shape == (16000,) and wave.dtype == np.float32
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=0.01)
    (tmp_path / "y.wav").write_text("not audio")
    with pytest.raises(ValueError, match="cannot be read as audio"):
        as_wave(tmp_path / "y.wav")


def test_scores_are_the_measures(data):
    clips, _ = find_clips(folders(data, "noisy", "enhanced", "clean"))
    (score, _) = score_clips(clips, SETTINGS)
    waves = {row: as_wave(data / row / "a.wav") for row in score.rows}
    assert list(waves) == ["noisy", "enhanced", "clean"]
    for row, wave in waves.items():
        level = check_level(wave)
        assert score.rows[row].items() >= level.items()
        assert score.rows[row]["missing"] == 0
    for row in ("noisy", "enhanced"):
        expected = SISDR()(waves[row], waves["clean"])
        assert score.rows[row]["si-sdr"] == pytest.approx(expected)
    assert "si-sdr" not in score.rows["clean"] and not score.skipped


def test_processes_give_the_same(data):
    clips, _ = find_clips(folders(data, "noisy", "enhanced", "clean"))
    alone = list(score_clips(clips, SETTINGS))
    assert [x.rows for x in score_clips(clips, SETTINGS, 2)] == [
        x.rows for x in alone
    ]


def test_what_is_refused_is_skipped_with_its_reason():
    wave = np.linspace(-0.5, 0.5, 9600, dtype="f4")
    waves = {"noisy": wave, "enhanced": 0 * wave, "clean": wave[::-1].copy()}
    score = Scorer(SETTINGS)(Clip("x", waves))
    assert score.rows["enhanced"] == {"missing": 0}
    reasons = {(x.row, x.column): x.reason for x in score.skipped}
    assert "no level" in reasons["enhanced", "level"]
    assert "constant" in reasons["enhanced", "si-sdr"]
    assert "infinite" in reasons["noisy", "si-sdr"]  # -1 times the clean one
    waves["enhanced"] = wave[:5000]
    score = Scorer(SETTINGS)(Clip("x", waves))
    assert score.rows["enhanced"]["missing"] == 4600
    assert any("do not compare" in skip.reason for skip in score.skipped)
    waves["noisy"] = np.full(9, np.nan, "f4")
    score = Scorer(SETTINGS)(Clip("x", waves))
    assert any("NaN" in skip.reason for skip in score.skipped)


def test_a_bad_file_skips_its_clip(tmp_path):
    (tmp_path / "x.wav").write_text("not audio")
    clip = Clip("x", {"noisy": tmp_path / "x.wav"})
    score = Scorer(SETTINGS)(clip)
    assert score.rows == {} and score.skipped[0].row == ""
    assert summarise([score]) == {}


class Reader:
    """Stands for a recogniser: words by the level of a wave."""

    name = "reader"

    def __call__(self, wav, sample_rate=RATE):
        return {1: "a b c d", 2: "a x c", 3: ""}[round(10 * wav.max())]


def test_words_against_the_clean_the_noisy_and_the_text(monkeypatch):
    monkeypatch.setattr(
        scoring.metrics, "load_reader", lambda name, device: Reader()
    )
    without = ("dnsmos", "pesq", "estoi", "si-sdr", "speaker", "level")
    scorer = Scorer(Settings("x", "y", without))
    one, two, none = (np.full(400, x, "f4") for x in (0.1, 0.2, 0.3))
    rows = scorer(
        Clip("k", {"noisy": two, "enhanced": none, "clean": one}, "A B!")
    ).rows
    assert (rows["noisy"]["edits"], rows["noisy"]["words"]) == (2, 4)
    assert (rows["enhanced"]["edits"], rows["clean"]["edits"]) == (4, 0)
    assert rows["noisy"]["text_edits"] == 2 and rows["clean"]["text_words"] == 2
    rows = scorer(Clip("k", {"noisy": two, "enhanced": one})).rows
    assert rows["enhanced"]["words"] == 3 and rows["enhanced"]["edits"] == 2
    assert "text_edits" not in rows["noisy"]


def test_means_intervals_and_changes():
    def scores(name, noisy, enhanced, edits, words):
        counts = {"edits": edits, "words": words}
        rows = {"noisy": {"SIG": noisy}, "enhanced": dict(counts)}
        if enhanced is not None:
            rows["enhanced"]["SIG"] = enhanced
        return Scores(Clip(name, {}), rows, [])

    given = [
        scores("a", 1.0, 2.0, 1, 10),
        scores("b", 2.0, None, 9, 10),
        scores("c", 4.0, 4.0, 2, 0),
    ]
    summary = summarise(given)
    assert summary["noisy"]["SIG"]["mean"] == pytest.approx(7 / 3, abs=1e-4)
    assert (
        summary["noisy"]["SIG"]["low"],
        summary["noisy"]["SIG"]["high"],
    ) == (
        1.0,
        4.0,
    )
    assert summary["enhanced"]["SIG"] == {
        "mean": 3.0,
        "low": 2.0,
        "high": 4.0,
        "num": 2,
    }
    assert summary["enhanced"]["dWER"]["mean"] == 0.6  # 12 edits, 20 words
    # Over the clips that have both: (2 + 4) / 2 - (1 + 4) / 2.
    assert summary[CHANGE]["SIG"]["mean"] == 0.5
    assert "dWER" not in summary["noisy"] and "dWER" not in summary[CHANGE]
    assert table(summary, with_interval=False).splitlines() == [
        "| | SIG | dWER |",
        "|---|---|---|",
        "| noisy | 2.33 | - |",
        "| enhanced | 3.00 [2] | 0.60 |",
        "| enhanced - noisy | 0.50 [2] | - |",
    ]


def test_interval_covers_the_mean_as_often_as_it_says():
    """Of 100 samples of a known mean, 95 or so hold it."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        given = [
            Scores(Clip(str(k), {}), {"noisy": {"SIG": x}}, [])
            for k, x in enumerate(rng.normal(3.0, 1.0, 40))
        ]
        figures = summarise(given)["noisy"]["SIG"]
        held += figures["low"] <= 3.0 <= figures["high"]
    assert 86 <= held <= 99


def evaluate(data, *options):
    given = ["evaluate", "--output", str(data / "out")]
    for row in ("noisy", "enhanced"):
        given += [f"--{row}", str(data / row)]
    return main([*given, *map(str, options), *QUICK])


def test_the_report(data, capsys):
    assert evaluate(data, "--clean", data / "clean") == 1  # c was skipped
    out, err = capsys.readouterr()
    assert "2 clips, 1 skipped" in out and "(SI-SDR, dB)" in out
    assert "skipped: c: no file" in err
    assert sorted(x.name for x in (data / "out").iterdir()) == [
        "distributions.png",
        "scores.csv",
        "summary.json",
    ]
    with (data / "out" / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [x["clip"] for x in lines] == ["a"] * 3 + ["sub/b"] * 3
    assert lines[2]["row"] == "clean" and lines[2]["si-sdr"] == ""
    report = json.loads((data / "out" / "summary.json").read_text())
    found = [float(x["si-sdr"]) for x in lines if x["row"] == "noisy"]
    summary = report["summary"]["noisy"]["si-sdr"]
    assert summary["mean"] == pytest.approx(np.mean(found), abs=1e-3)
    assert report["num_skipped"] == 1
    assert set(report["settings"]["dnsmos_sha256"]) == {
        "sig_bak_ovr.onnx",
        "model_v8.onnx",
    }


def test_all_scored_is_success(data):
    (data / "noisy/c.wav").unlink()
    assert evaluate(data) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--clean", "absent"], "no folder absent"),
        (["--text", "absent"], "absent"),
        (["--text", "{data}/text"], "No name in"),
    ],
)
def test_usage(data, capsys, options, message):
    (data / "text").write_text("unknown words\n")
    options = [option.format(data=data) for option in options]
    assert evaluate(data, *options) == 2
    assert message in capsys.readouterr().err
    assert not (data / "out").exists()


def test_missing_package_gives_the_pip_line(data, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    given = ["--noisy", data / "noisy", "--enhanced", data / "enhanced"]
    given += ["--output", data / "out", "--asr", "pocketsphinx"]
    given += ["--without", "dnsmos", "pesq", "estoi", "speaker"]
    assert main(["evaluate", *map(str, given)]) == 2
    assert "pip install 'pocketsphinx>=5,<6'" in capsys.readouterr().err


def test_a_measure_without_its_package_is_left_out(data, capsys, monkeypatch):
    """With a line, unless it was asked for by name."""
    monkeypatch.setitem(__import__("sys").modules, "pesq", None)
    for row in ("noisy", "clean"):
        (data / row / "c.wav").unlink()
    given = ["evaluate", "--output", str(data / "out")]
    for row in ("noisy", "enhanced", "clean"):
        given += [f"--{row}", str(data / row)]
    others = ["dnsmos", "estoi", "words", "speaker"]
    assert main([*given, "--without", *others]) == 0
    out, err = capsys.readouterr()
    assert "pesq is left out for want of a package: pip install pesq" in err
    assert "PESQ" not in out and "SI-SDR" in out
    settings = json.loads((data / "out/summary.json").read_text())["settings"]
    assert "pesq" in settings["without"]
    assert main([*given, "--measures", "pesq", "si-sdr"]) == 2
    assert "pesq needs a package: pip install pesq" in capsys.readouterr().err


def test_what_is_beyond_full_scale_is_clipped_and_counted():
    rng = np.random.default_rng(0)
    wave = rng.uniform(-1.1, 1.1, 9600).astype("f4")
    count = int((abs(wave) > 1).sum())
    assert count > 100
    loud = Scorer(SETTINGS)(Clip("x", {"noisy": wave, "enhanced": wave / 2}))
    assert loud.beyond == {"noisy": count} and not loud.skipped
    clipped = Scorer(SETTINGS)(Clip("x", {"noisy": wave.clip(-1, 1)}))
    assert loud.rows["noisy"]["level"] == clipped.rows["noisy"]["level"]


def test_measures_are_listed_alike():
    assert tuple(command.MEASURE_NAMES) == scoring.MEASURES
    of_tasks = sum(scoring.OF_TASKS.values(), ())
    assert tuple(command.TASK_MEASURES) == of_tasks


def test_picture_of_word_errors(tmp_path):
    rows = {
        "noisy": {"edits": 3, "words": 4},
        "enhanced": {"edits": 9, "words": 0},
    }
    given = [Scores(Clip("a", {}), rows, [])]
    plot_distributions(tmp_path / "x.png", given, summarise(given))
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def testset(tmp_path):
    """The tree of the Challenge's repository, with bursts of noise."""
    rng = np.random.default_rng(0)
    top = tmp_path / "datasets" / "test_set"
    for subset in ("no_reverb", "with_reverb"):
        for key in (3, 12):
            clean = 0.1 * rng.standard_normal(8000)
            noisy = clean + 0.02 * rng.standard_normal(8000)
            folder = top / "synthetic" / subset
            name = f"clnsp1_train_69_1_snr15_tl-21_fileid_{key}.wav"
            write(folder / "noisy" / name, noisy)
            write(folder / "clean" / f"clean_fileid_{key}.wav", clean)
    write(top / "real_recordings" / "audioset_realrec_car_x.wav", noisy)
    return tmp_path


def test_the_challenges_tree(testset):
    subsets = find_subsets(testset)
    assert list(subsets) == ["with_reverb", "no_reverb", "real_recordings"]
    assert [clip.name for clip in subsets["no_reverb"]] == [
        "fileid_3",
        "fileid_12",
    ]
    for subset in ("with_reverb", "no_reverb"):
        for clip in subsets[subset]:
            key = clip.name.split("_")[1]
            for row in ("noisy", "clean"):
                assert clip.waves[row].stem.endswith(f"_fileid_{key}")
                assert clip.waves[row].parent.parent.name == subset
    assert list(subsets["real_recordings"][0].waves) == ["noisy"]
    inner = testset / "datasets" / "test_set"
    assert find_subsets(inner) == subsets
    (inner / "synthetic/no_reverb/clean/clean_fileid_12.wav").unlink()
    with pytest.raises(ValueError, match=r"no file for the ids \[12\]"):
        find_subsets(inner)
    with pytest.raises(ValueError, match="neither synthetic/with_reverb"):
        find_subsets(testset / "datasets" / "test_set" / "synthetic")


def test_published_figures():
    """Spot checks of the file against the table that it was taken from."""
    published = read_published()
    assert list(published) == [
        "Unprocessed",
        "Conv-TasNet",
        "DEMUCS",
        "FRCRN",
        "SELM",
        "MaskSR",
        "GENSE",
        "LLaSE",
    ]
    subsets = ("with_reverb", "no_reverb", "real_recordings")
    for system, expected in {
        "Unprocessed": (1.39, 2.48, 2.26),
        "LLaSE": (3.33, 3.43, 3.24),
    }.items():
        found = tuple(published[system][x]["OVRL"] for x in subsets)
        assert found == expected
    assert published["GENSE"]["real_recordings"] == {}
    lines = comparison({"ours": {"no_reverb": {"OVRL": 3.0}}}).splitlines()
    assert lines[-1].startswith(
        "| ours | measured here | - | - | - | - | - | 3.00"
    )
    gense = next(line for line in lines if "GENSE" in line)
    assert "published" in gense and gense.endswith("| - | - | - |")


class Halver:
    """Stands for a model: half the input."""

    def enhance_batch(self, noisy):
        return noisy / 2


def test_benchmark(testset, capsys, monkeypatch):
    from speechbrain_llase.cli import benchmark_dns

    monkeypatch.setattr(benchmark_dns, "load_enhancer", lambda **_: Halver())
    given = ["--testset", testset, "--output", testset / "out"]
    given = ["benchmark-dns", *map(str, given), "--source", "halver", *QUICK]
    assert main([*given, "--system", "copy=cp {input} {output}"]) == 0
    out = capsys.readouterr().out
    assert "| copy | measured here |" in out
    assert "| halver | measured here |" in out
    assert "| LLaSE | published | 3.59 | 4.10 | 3.33 |" in out
    assert (testset / "out" / "tables.md").read_text() == out
    report = json.loads((testset / "out" / "no_reverb.json").read_text())
    copy, noisy = (report["summary"][row] for row in ("copy", "noisy"))
    assert copy == noisy and "si-sdr" in copy
    change = report["summary"][CHANGE]
    assert change["level"]["mean"] == pytest.approx(-6.02, abs=0.01)
    assert change["si-sdr"]["mean"] == pytest.approx(0, abs=1e-3)
    real = json.loads((testset / "out" / "real_recordings.json").read_text())
    assert "si-sdr" not in real["summary"]["noisy"]
    assert torch.is_tensor(Halver().enhance_batch(torch.ones(1)))


@pytest.mark.parametrize(
    "system, words",
    [
        ("cp {input} {output}", "write name=command"),
        ("clean=cp {input} {output}", "names of its own"),
        ("fails=false {input} {output}", "fails ended with 1"),
    ],
)
def test_benchmark_refuses_what_is_no_system(testset, capsys, system, words):
    given = ["--testset", str(testset), "--output", str(testset / "out")]
    command = ["benchmark-dns", *given, "--system", system, *QUICK]
    assert main(command) == 2 and words in capsys.readouterr().err


def test_benchmark_needs_the_tree(tmp_path, capsys):
    given = ["--testset", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(["benchmark-dns", *given, *QUICK]) == 2
    assert "neither synthetic/with_reverb" in capsys.readouterr().err
