"""Measure the figures that README and docs quote, and draw their pictures.

From the top of the repository, in an environment with ".[demo]", playwright
and Chromium:

    python docs/figures.py             # all, some ten minutes
    python docs/figures.py --only clip # one group

What was measured is kept in docs/figures.json, together with a hash of the
weights of llase_mini; a test compares the docs with that file, and the hash
with the weights. In the docs a figure stands between two marks, or below one:

    peak at <!--fig long_peak-->917 MB<!--fig-->

    <!-- figure: clip_summary -->
    ```text
    ...
"""

import argparse
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "figures.json"
CLIP = ROOT / "examples" / "noisy.wav"
NOTEBOOK = ROOT / "notebooks" / "llase_mini.ipynb"
LONG = (1, 60)  # minutes
INLINE = re.compile(r"(<!--fig (\w+)-->)(.*?)(<!--fig-->)", re.DOTALL)
BLOCK = re.compile(
    r"(^<!-- figure: (\w+) -->\n```\w*\n)(.*?\n)(^```$)",
    re.MULTILINE | re.DOTALL,
)
LARGEST_OUTPUT = 200_000  # characters of one output of the notebook


def main() -> None:
    """Measure, keep, and write into the docs."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[])
    args = parser.parse_args()
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.is_file() else {}
    for name in args.only or GROUPS:
        print(f"{name} ...", flush=True)
        kept |= GROUPS[name]()
    kept["weights"] = hash_of_weights()
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", "utf-8")
    for page in pages():
        old = page.read_text("utf-8")
        new = fill_in(old, kept)
        if new != old:
            page.write_text(new, "utf-8")
            print(f"changed: {page.relative_to(ROOT)}")


def measure_clip() -> dict[str, str]:
    """What the command line says of the example clip."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "enhanced"
        command = [sys.executable, "-m", "speechbrain_llase.cli", "enhance"]
        done = subprocess.run(
            [*command, str(CLIP), "--output", str(output)],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = (output / "manifest.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[-1])
    record["input"] = "/data/noisy.wav"
    said = [x for x in (done.stdout + done.stderr).splitlines() if "1 enh" in x]
    folder_record = record | {
        "input": "/data/recordings/day1/a.flac",
        "output": "day1/a.wav",
        "warnings": ["2 channels reduced to one"],
    }
    return {
        "clip_summary": said[-1],
        "clip_record": fold(json.dumps(record)),
        "folder_record": json.dumps(folder_record),
    }


def measure_scores() -> dict[str, str]:
    """DNSMOS of the example clip, before and after."""
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.metrics import DNSMOS

    enhancer = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    noisy = enhancer.load_audio(str(CLIP))
    score = DNSMOS()
    made = {}
    for row, wav in (
        ("noisy", noisy),
        ("enhanced", enhancer.enhance_file(CLIP)),
    ):
        figures = score(wav / wav.abs().max().clamp(min=1), 16000)
        for name, value in figures.items():
            made[f"clip_{row}_{name}"] = f"{value:.2f}"
    return made


def measure_long() -> dict[str, str]:
    """Peak memory and time of a minute and an hour."""
    script = ROOT / "benchmarks" / "memory.py"
    minutes = [str(x) for x in LONG]
    done = subprocess.run(
        [sys.executable, str(script), "--minutes", *minutes],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"peak (\d+) MB.* ([\d.]+) s/s", done.stdout)
    (first, _), (second, cost) = found
    return {
        "minute_peak": f"{first} MB",
        "hour_peak": f"{second} MB",
        "hour_time": f"{3600 * float(cost):.0f} s",
        "hour_cost": f"{float(cost):.3f} s/s",
    }


def draw() -> dict[str, str]:
    """Renew the pictures of README and docs; no figures."""
    for name in ("make_pictures", "make_page_pictures"):
        script = ROOT / "docs" / f"{name}.py"
        subprocess.run([sys.executable, str(script)], check=True, cwd=ROOT)
    return {}


def run_notebook() -> dict[str, str]:
    """Run the notebook and keep its outputs, but for recordings."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--nbmake", "--nbmake-timeout=600", "--overwrite"]
    subprocess.run([*command, NOTEBOOK.name], check=True, cwd=NOTEBOOK.parent)
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


def fold(line: str) -> str:
    """Break a line of JSON at commas, as the guide shows it."""
    lines = [""]
    for part in re.split(r"(?<=,) (?=\")", line):
        if lines[-1] and len(lines[-1]) + len(part) > 76:
            lines.append("")
        lines[-1] += f" {part}" if lines[-1] or len(lines) > 1 else part
    return "\n".join(lines)


def fill_in(text: str, figures: dict[str, str]) -> str:
    """Put figures between their marks; a KeyError for one that is unknown."""

    def inline(found):
        return found[1] + figures[found[2]] + found[4]

    def block(found):
        return found[1] + figures[found[2]] + "\n" + found[4]

    return BLOCK.sub(block, INLINE.sub(inline, text))


def pages() -> list[Path]:
    """The Markdown files that may hold marks."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *docs]


def hash_of_weights() -> str:
    """SHA-256 of what llase_mini loads."""
    digest = hashlib.sha256()
    folder = ROOT / "hparams" / "llase_mini"
    for name in ("frontend", "token_lm", "vocoder", "refiner"):
        digest.update((folder / f"{name}.ckpt").read_bytes())
    return digest.hexdigest()


GROUPS: dict[str, Callable[[], dict[str, str]]] = {
    "clip": measure_clip,
    "scores": measure_scores,
    "long": measure_long,
    "pictures": draw,
    "notebook": run_notebook,
}

if __name__ == "__main__":
    main()
