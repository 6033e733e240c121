"""Figures in the docs are those that docs/figures.py measured last."""

import importlib
import json

import pytest
from doc_blocks import ROOT

REPOSITORY = "https://github.com/someone/speechbrain_llase.git"


@pytest.fixture(scope="module")
def docs():
    """Imports a program of docs/ as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module


@pytest.fixture(scope="module")
def figures(docs):
    return docs("figures")


@pytest.fixture(scope="module")
def kept(figures):
    """What was measured last."""
    return json.loads(figures.KEPT.read_text("utf-8"))


def test_docs_say_what_was_measured(figures, kept):
    known = figures.known(kept)
    for page in figures.pages():
        text = page.read_text("utf-8")
        assert figures.fill_in(text, known) == text, page


def test_all_figures_are_quoted_and_marks_are_whole(figures, kept):
    texts = "".join(page.read_text("utf-8") for page in figures.pages())
    names = [found[1] for found in figures.INLINE.findall(texts)]
    blocks = [found[1] for found in figures.BLOCK.findall(texts)]
    tables = [found[1] for found in figures.TABLE.findall(texts)]
    assert len(names) >= 40 and len(blocks) >= 3 and len(tables) >= 12
    assert texts.count("<!--fig") == 2 * len(names)
    assert texts.count("<!-- figure: ") == len(blocks) + len(tables)
    assert {*names, *blocks, *tables} <= figures.known(kept).keys()


def test_every_table_of_scores_or_precisions_is_measured(figures):
    """But for records: of benchmarks, and of the recipe's development."""
    for page in figures.pages():
        if page.parts[-2] not in ("benchmarks", "llase_mini"):
            text = figures.TABLE.sub("", page.read_text("utf-8"))
            assert "| OVRL |" not in text, page
            assert "| s per audio second |" not in text, page


@pytest.mark.parametrize(
    "group", "clip scores long flac pictures notebook peers".split()
)
def test_figures_are_of_the_weights_that_are_here(figures, kept, group):
    """After new weights, run docs/figures.py."""
    assert kept["weights"][group] == figures.hash_of_weights()


def test_other_weights_are_named(figures, kept):
    kept = kept | {
        "weights": {"a": "0123456789", "b": figures.hash_of_weights()}
    }
    known = figures.known(kept)
    assert known["a_weights"] == "earlier weights (SHA-256 01234567)"
    assert known["b_weights"] == "the weights of today"


def test_a_changed_figure_is_put_in(figures):
    text = (
        "of <!--fig a-->1<!--fig-->\n<!-- figure: b -->\n```text\nx\ny\n```\n"
        "<!-- figure: c -->\n\n| x |\n| y |\n\nend\n"
    )
    new = figures.fill_in(text, {"a": "2", "b": "z", "c": "| 1 |\n| 2 |"})
    assert "<!--fig a-->2<!--fig-->" in new and "```text\nz\n```\n" in new
    assert "c -->\n\n| 1 |\n| 2 |\n\nend" in new
    with pytest.raises(KeyError):
        figures.fill_in(text, {"a": "2", "c": ""})


def test_a_record_is_folded(docs):
    parts = docs("figure_groups").fold(
        '{"a": 1, "b": "' + 80 * "x" + '", "c": 3}'
    )
    assert parts.splitlines()[0] == '{"a": 1,' and json.loads(parts)["c"] == 3


def test_tables_are_made_of_what_programs_wrote(docs, tmp_path):
    """Also of a run that was made elsewhere, as long ones are."""
    results = [
        {"compute": name, "s_per_s": cost, "peak_bytes": 5e9}
        for name, cost in (("released", 0.6), ("float32", 0.3))
    ]
    (tmp_path / "speed.json").write_text(json.dumps(results))
    made = docs("figure_tables").measure_speed(None, tmp_path)
    assert "| the released procedure | 0.600 | 1 | 5.0 GB |" in made["speed"]
    assert made["speed"].endswith("| `float32` | 0.300 | 2.0 | 5.0 GB |")
    assert made["speed_short"].endswith("|\n| `float32` | 0.300 | 5.0 GB |")


def test_lengths_and_threads_of_the_packaged_model(docs, tmp_path):
    results = [
        {
            "compute": name,
            "seconds": seconds,
            "threads": threads,
            "s_per_s": cost / threads,
            "peak_bytes": 1e9,
        }
        for seconds in (4.0, 60.0)
        for threads in (1, 2)
        for name, cost in (("float32", 0.04), ("int8", 0.02))
    ]
    (tmp_path / "speed.json").write_text(json.dumps(results))
    made = docs("figure_tables").measure_mini(None, tmp_path)
    lines = made["mini"].splitlines()
    assert lines[0] == "| `llase_mini` | 4 s | 60 s |" and len(lines) == 6
    cells = "| 0.020 (1.00 GB) | 0.020 (1.00 GB) |"
    assert lines[3] == f"| `float32`, 2 threads {cells}"


def test_processes_share_cores(docs, tmp_path):
    """What is told is the work of all cores for a second of audio."""
    for model, computes in (("llase_mini", ["float32"]), ("llase", ["int8"])):
        results = [
            {
                "compute": compute,
                "window_batch": batch,
                "processes": processes,
                "cores": min(2, processes),
                "s_per_s": 0.1 / min(2, processes) + 0.01 * batch,
            }
            for compute in computes
            for batch in (1, 4)
            for processes in (1, 2, 4)
        ]
        (tmp_path / f"{model}.json").write_text(json.dumps(results))
    made = docs("figure_tables").measure_many(None, tmp_path)
    row = "| `llase`, int8 | four at once | 0.140 | 0.180 | 0.180 |"
    assert made["many"].endswith(row)
    costs = {"`llase_mini`, float32": "0.120", "`llase`, int8": "0.120"}
    assert json.loads(made["many_costs"]) == costs


def test_streams_are_read(docs, tmp_path):
    head = "| window, context | latency |\n|---|---|\n"
    row = "| 1 s, 0.5 s | 1.52 s |"
    (tmp_path / "streams.txt").write_text(
        f"{head}{row}\nleast latency within 0.1 of OVRL: 1.52 s\n"
    )
    made = docs("figure_tables").measure_streams(tmp_path, tmp_path)
    assert made == {"streams": head + row, "stream_latency": "1.52 s"}


def test_systems_of_several_runs_stand_in_one_table(docs, tmp_path):
    for folder, value in (("selm", 1.0), ("llase_g1", 2.0)):
        figure = {"mean": value, "low": 0.5, "high": 2.5, "num": 6}
        rows = {x: {"OVRL": figure} for x in ("noisy", "enhanced", "clean")}
        (tmp_path / folder).mkdir()
        text = json.dumps({"summary": rows})
        (tmp_path / folder / "summary.json").write_text(text)
    made = docs("figure_tables").measure_published(tmp_path, tmp_path)
    names = [x.split("|")[1].strip() for x in made["published"].splitlines()]
    assert names == ["", "---", "noisy", "SELM", "LLaSE-G1", "clean"]
    assert "| SELM | 1.00 (0.50 to 2.50) |" in made["published"]


def test_the_knobs_curves_are_drawn(docs, tmp_path, monkeypatch):
    """A table a set; the picture lies in the docs and is small."""
    tables = docs("figure_tables")
    figure = {"mean": 0.5, "low": 0.4, "high": 0.6, "num": 6}
    rows = ("noisy", "0", "0.5", "1", "clean")
    summary = {row: {"OVRL": figure, "dWER": figure} for row in rows}
    work = tmp_path / "work"
    work.mkdir()
    report = {"dns": summary, "rooms": summary}
    (work / "generative.json").write_text(json.dumps(report))
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(tables, "PICTURE", tmp_path / "docs/generative.png")
    made = tables.measure_knob(tmp_path, work)
    assert made.keys() == {"knob_dns", "knob_rooms"}
    assert "| 0.5 | 0.50 | 0.50 |" in made["knob_dns"]
    assert 5e3 < (tmp_path / "docs/generative.png").stat().st_size < 1e5


def test_the_guards_tables_are_read(docs, tmp_path, monkeypatch):
    """The means of each set, and the curve of what the guard watches."""
    tables = docs("figure_tables")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "guard.png").write_bytes(b"picture")
    (tmp_path / "guard_curve.md").write_text(
        "\ndns: 6 clips\n\n| | OVRL |\n|---|---|\n| noisy | 2 |\n\n"
        "| watched | passed |\n|---|---|\n| gain of DNSMOS, low | 0% |\n"
        "| entropy, low | 0% |\n\nrooms: 2 clips\n\n| | OVRL |\n"
    )
    assert tables.measure_guard(tmp_path, tmp_path) == {
        "guard_dns": "| | OVRL |\n|---|---|\n| noisy | 2 |",
        "guard_dns_gain": (
            "| watched | passed |\n|---|---|\n| gain of DNSMOS, low | 0% |"
        ),
        "guard_rooms": "| | OVRL |",
    }
    assert (tmp_path / "docs" / "guard.png").read_bytes() == b"picture"


@pytest.mark.parametrize("group", ["streams", "peers", "knob", "guard"])
def test_recordings_are_asked_for(figures, monkeypatch, capsys, group):
    monkeypatch.setattr("sys.argv", ["figures.py", "--only", group])
    with pytest.raises(SystemExit):
        figures.main()
    assert "give --data" in capsys.readouterr().err


def test_a_plan_follows_from_what_was_measured(figures, kept):
    """Core-hours and days, by hand."""
    costs = {"`llase_mini`, float32": "0.100", "`llase`, bfloat16": "0.462"}
    known = figures.known(kept | {"many_costs": json.dumps(costs)})
    assert "| `llase_mini`, float32 | 0.100 | 10,000 | 1.6 |" in known["plan"]
    assert "| `llase`, bfloat16 | 0.462 | 46,200 | 7.5 |" in known["plan"]
    assert "| days on 256 cores | 1.6 | 7.5 |" in known["plan_short"]
    assert "| 1 GB | 8.7 h | 52 min | 4.0 h | 11,500 |" in known["plan_shards"]
    assert known["plan_core_mb"] == "0.32 MB/s"


def test_the_address_is_that_of_setup(docs, kept):
    """Once one is stated, README and notebook have it, and a badge."""
    address = docs("figure_address")
    notebook = address.NOTEBOOK.read_text("utf-8")
    url = address.read_address()
    assert address.with_address(notebook, url) == notebook
    assert kept["colab"] == address.opening(url)
    new = address.with_address(notebook, REPOSITORY)
    assert f'REPOSITORY = \\"{REPOSITORY}\\"' in new
    assert "someone/speechbrain_llase/blob/main/notebooks/llase_mini" in new
    assert "colab-badge.svg" in new and new.count("\n") == notebook.count("\n")
    assert address.with_address(new, url) == notebook
