"""What the name of a model or of an audio file means."""

import os
import re
from importlib import resources
from pathlib import Path

from speechbrain.utils.data_utils import split_path
from speechbrain.utils.fetching import FetchSource, fetch


def resolve_source(source: str | Path | FetchSource) -> str | FetchSource:
    """Find what a model's source means, for SpeechBrain to fetch."""
    if not isinstance(source, str | Path):
        return source
    name = str(source)
    packaged = resources.files("speechbrain_llase.hparams")
    names = sorted(
        entry.name
        for entry in packaged.iterdir()
        if entry.joinpath("hyperparams.yaml").is_file()
    )
    if name in names:
        return str(packaged.joinpath(name))
    if os.path.isdir(name) or re.match("https?://", name):
        return name
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return name
    raise ValueError(
        f"There is no model {name!r}. Pass one of {', '.join(names)}, an "
        "existing folder, a URL or a Hugging Face id (org/name)."
    )


def fetch_audio(filename: str | Path, **kwargs) -> str:
    """Find a local file; fetch it with ``savedir``, or if it is a URL.

    Gives the local path; a FileNotFoundError, if there is no such local file.
    """
    filename = str(filename)
    remote = "savedir" in kwargs or filename.startswith("http")
    if not remote and not os.path.isfile(filename):
        raise FileNotFoundError(
            f"There is no file {filename}; pass a local audio file, or a "
            "URL or hub path together with savedir=FOLDER."
        )
    if not remote:
        return filename
    source, name = split_path(filename)
    return str(fetch(name, source=source, **kwargs))
