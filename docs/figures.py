"""Measure the figures that README and docs quote, and draw their pictures.

From the top of the repository, in an environment with ".[demo]", playwright
and Chromium:

    python docs/figures.py              # some ten minutes
    python docs/figures.py --only clip  # one group
    python docs/figures.py --data DATA --work FOLDER  # tables, too: hours

DATA is the folder of the recipe of llase_mini. Outputs of long programs are
kept in FOLDER, below the hash of the weights; what lies there is not made again.

What was measured is kept in docs/figures.json, with the hash of the weights of
llase_mini that each group was measured on; a test compares the docs with that
file. In the docs a figure stands between two marks, or below one:

    peak at <!--fig long_peak-->917 MB<!--fig-->

    <!-- figure: clip_summary -->
    ```text
    ...

    <!-- figure: peers_dns -->

    | 6 clips ...

"address" is no measurement: it writes the address of the repository that
setup.py states into README and notebook.
"""

import argparse
import hashlib
import json
import re
import tempfile
from functools import cache
from pathlib import Path

from figure_tables import NEED_DATA, TABLES, plan

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "figures.json"
INLINE = re.compile(r"(<!--fig (\w+)-->)(.*?)(<!--fig-->)", re.DOTALL)
BLOCK = re.compile(
    r"(^<!-- figure: (\w+) -->\n```\w*\n)(.*?\n)(^```$)",
    re.MULTILINE | re.DOTALL,
)
TABLE = re.compile(
    r"(^<!-- figure: (\w+) -->\n\n)((?:\|.*\n)+)()", re.MULTILINE
)


def main() -> None:
    """Measure, keep, and write into the docs."""
    from figure_groups import GROUPS

    args = parse(list(GROUPS))
    kept = json.loads(KEPT.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        work = (args.work or Path(folder)).resolve() / hash_of_weights()[:8]
        for name in args.only or GROUPS:
            if name in TABLES and not (args.data or args.only):
                print(f"{name} is left out; with --data it is made, too")
                continue
            print(f"{name} ...", flush=True)
            place = work / name
            place.mkdir(parents=True, exist_ok=True)
            kept |= GROUPS[name](args.data and args.data.resolve(), place)
            kept["weights"][name] = hash_of_weights()
            write(KEPT, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    for page in pages():
        write(page, fill_in(page.read_text("utf-8"), known(kept)))


def parse(groups: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=groups, default=[])
    parser.add_argument("--data", type=Path, help="recordings of the recipe")
    parser.add_argument("--work", type=Path, help="folder that keeps outputs")
    args = parser.parse_args()
    if NEED_DATA.intersection(args.only) and not args.data:
        parser.error(f"give --data: {', '.join(sorted(NEED_DATA))} need it")
    return args


def write(page: Path, text: str) -> None:
    """Write a text file that changed, and say so."""
    if text != page.read_text("utf-8"):
        page.write_text(text, "utf-8")
        print(f"changed: {page.relative_to(ROOT)}")


def known(kept: dict) -> dict[str, str]:
    """All figures by name, with words for the weights of each group."""
    figures = {k: x for k, x in kept.items() if k != "weights"}
    for group, digest in kept["weights"].items():
        figures[f"{group}_weights"] = (
            "the weights of today"
            if digest == hash_of_weights()
            else f"earlier weights (SHA-256 {digest[:8]})"
        )
    return figures | plan(figures)


def fill_in(text: str, figures: dict[str, str]) -> str:
    """Put figures between their marks; a KeyError for one that is unknown."""

    def inline(found):
        return found[1] + figures[found[2]] + found[4]

    def lines(found):
        return found[1] + figures[found[2]] + "\n" + found[4]

    return TABLE.sub(lines, BLOCK.sub(lines, INLINE.sub(inline, text)))


def pages() -> list[Path]:
    """The Markdown files that may hold marks."""
    recipe = ROOT / "recipes" / "LibriSpeech" / "enhance" / "llase_mini"
    return [
        ROOT / "README.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "hparams" / "llase_mini" / "MODEL_CARD.md",
        recipe / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


@cache
def hash_of_weights() -> str:
    """SHA-256 of what llase_mini loads."""
    digest = hashlib.sha256()
    folder = ROOT / "hparams" / "llase_mini"
    for name in ("frontend", "token_lm", "vocoder", "refiner"):
        digest.update((folder / f"{name}.ckpt").read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
