"""The groups of docs/figures.py: each measures and gives figures by name."""

import base64
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from figure_address import state_address
from figure_tables import TABLES, run

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "examples" / "noisy.wav"
NOTEBOOK = ROOT / "notebooks" / "llase_mini.ipynb"
LONG = (1, 60)  # minutes
BUSY = 0.05  # share of the machine that other programs may take unmentioned
LARGEST_OUTPUT = 200_000  # characters of one output of the notebook
Figures = dict[str, str]


def measure_clip(data: Path | None, work: Path) -> Figures:
    """What the command line says of the example clip."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "enhanced"
        said = run(
            *("-m", "speechbrain_llase.cli", "enhance", CLIP),
            *("--output", output),
            stderr=subprocess.STDOUT,
        )
        lines = (output / "manifest.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[-1])
    record["input"] = "/data/noisy.wav"
    folder_record = record | {
        "input": "/data/recordings/day1/a.flac",
        "output": "day1/a.wav",
        "warnings": ["2 channels reduced to one"],
    }
    return {
        "clip_summary": [x for x in said.splitlines() if "1 enh" in x][-1],
        "clip_record": fold(json.dumps(record)),
        "folder_record": json.dumps(folder_record),
    }


def fold(line: str) -> str:
    """Break a line of JSON at commas, as the guide shows it."""
    lines = [""]
    for part in re.split(r"(?<=,) (?=\")", line):
        if lines[-1] and len(lines[-1]) + len(part) > 76:
            lines.append("")
        lines[-1] += f" {part}" if lines[-1] or len(lines) > 1 else part
    return "\n".join(lines)


def measure_scores(data: Path | None, work: Path) -> Figures:
    """DNSMOS and word edits of the example clip, before and after."""
    sys.path.append(str(CLIP.parent))
    from make_noisy import TEXT

    from speechbrain_llase import EnhanceLLaSE, metrics
    from speechbrain_llase.metrics.word_edits import (
        count_edits,
        normalise_words,
    )

    enhancer = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    waves = {
        "noisy": enhancer.load_audio(str(CLIP)),
        "enhanced": enhancer.enhance_file(CLIP),
    }
    score, read = metrics.DNSMOS(), metrics.PocketsphinxReader()
    text = normalise_words(TEXT)
    made = {"clip_words": str(len(text))}
    for row, wav in waves.items():
        wav = wav / wav.abs().max().clamp(min=1)
        for name, value in score(wav, 16000).items():
            made[f"clip_{row}_{name}"] = f"{value:.2f}"
        words = normalise_words(read(wav.numpy(), 16000))
        made[f"clip_{row}_edits"] = str(count_edits(words, text))
    return made


def measure_long(data: Path | None, work: Path) -> Figures:
    """Peak memory and time of a minute and an hour."""
    minutes = map(str, LONG)
    before, start = busy_s(), time.perf_counter()
    said = run(ROOT / "benchmarks" / "memory.py", "--minutes", *minutes)
    took = time.perf_counter() - start
    others = (busy_s() - before) / took / os.cpu_count()
    found = re.findall(r"peak (\d+) MB.* ([\d.]+) s/s", said)
    (first, _), (second, cost) = found
    return {
        "minute_peak": f"{first} MB",
        "hour_peak": f"{second} MB",
        "hour_time": f"{3600 * float(cost):.0f} s",
        "hour_cost": f"{float(cost):.3f} s/s",
        "hour_beside": "beside other work" if others > BUSY else "left alone",
        "cores": f"{os.cpu_count()} CPU cores",
    }


def measure_flac(data: Path | None, work: Path) -> Figures:
    """Peak memory of other rates and channels."""
    options = "--rate 44100 --channels 2 --format flac --minutes 1 20".split()
    said = run(ROOT / "benchmarks" / "memory.py", *options)
    first, second = re.findall(r"peak (\d+) MB", said)
    return {"flac_minute": f"{first} MB", "flac_20_minutes": f"{second} MB"}


def busy_s() -> float:
    """Seconds of CPU that programs other than ours have used (Linux)."""
    line = Path("/proc/stat").read_text().splitlines()[0].split()
    used = sum(int(line[k]) for k in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ours = [resource.getrusage(x) for x in whose]
    return used - sum(x.ru_utime + x.ru_stime for x in ours)


def draw(data: Path | None, work: Path) -> Figures:
    """Renew the pictures of README and docs; no figures."""
    for name in ("make_pictures", "make_page_pictures"):
        run(ROOT / "docs" / f"{name}.py", cwd=ROOT)
    return {}


def run_notebook(data: Path | None, work: Path) -> Figures:
    """Run the notebook and keep its outputs, but for recordings."""
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--nbmake", "--nbmake-timeout=600", "--overwrite"]
    run(*command, NOTEBOOK.name, cwd=NOTEBOOK.parent)
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if "outputs" in cell:
            cell["outputs"] = [
                small(x) for x in cell["outputs"] if x.get("name") != "stderr"
            ]
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    NOTEBOOK.write_text(text, "utf-8")
    return {}


def small(output: dict) -> dict:
    """An output of a cell; a player with its recording becomes a word."""
    data = output.get("data", {})
    if "image/png" in data:
        return output | {"data": data | {"image/png": fewer_colours(data)}}
    if len(json.dumps(data)) > LARGEST_OUTPUT and "text/html" in data:
        data = {"text/plain": ["(run the cell to hear it)"]}
        return output | {"data": data}
    return output


def fewer_colours(data: dict) -> str:
    """The picture of an output, base64, in 256 colours."""
    from PIL import Image

    made = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
        few = picture.convert("RGB").quantize(256, dither=0)
    few.save(made, "PNG", optimize=True)
    return base64.b64encode(made.getvalue()).decode()


GROUPS: dict[str, Callable[[Path | None, Path], Figures]] = {
    "address": state_address,
    "clip": measure_clip,
    "scores": measure_scores,
    "long": measure_long,
    "flac": measure_flac,
    "pictures": draw,
    "notebook": run_notebook,
    **TABLES,
}
