"""What the name of a model or of an audio file means."""

import hashlib
import os
import re
from importlib import resources
from pathlib import Path

from speechbrain.utils.data_utils import split_path
from speechbrain.utils.fetching import FetchSource, fetch

from speechbrain_llase.dataio.audio_reader import Taken
from speechbrain_llase.dataio.urls import is_url, local_path, name_of, show

FETCHING = ("savedir", "local_strategy", "fetch_config")  # what fetch knows
PLACE_DIGITS = 12  # of a place's hash, in the name of what was fetched
LICENCE = re.compile(r"^# Licences?: (.*(?:\n#   .*)*)", re.MULTILINE)
UNKNOWN = "not stated in its hyperparams.yaml; ask whoever published it"


def packaged_models() -> dict[str, Path]:
    """Find the models that come with the package: name -> folder."""
    packaged = Path(str(resources.files("speechbrain_llase.hparams")))
    return {
        folder.name: folder
        for folder in sorted(packaged.iterdir())
        if (folder / "hyperparams.yaml").is_file()
    }


def resolve_source(source: str | Path | FetchSource) -> str | FetchSource:
    """Find what a model's source means, for SpeechBrain to fetch."""
    if not isinstance(source, str | Path):
        return source
    name = str(source)
    packaged = packaged_models()
    if name in packaged:
        return str(packaged[name])
    if os.path.isdir(name) or re.match("https?://", name):
        return name
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return name
    raise ValueError(
        f"There is no model {name!r}. Pass one of {', '.join(packaged)}, an "
        "existing folder, a URL or a Hugging Face id (org/name)."
    )


def fetch_taken(filename: str | Path, **kwargs) -> tuple[str, Taken]:
    """Give the path of `fetch_audio`, and what of the file is to be read."""
    return fetch_audio(filename, **kwargs), Taken.out_of(kwargs)


def fetch_audio(filename: str | Path, **kwargs) -> str:
    """Find a local file, or fetch what a URL or a hub's path names.

    What is fetched lies in `savedir` under a name of its own for each place,
    however many places have files of one name. Gives the local path; a
    FileNotFoundError, if there is no such local file, a ValueError for a URL
    without ``savedir``, a TypeError for an option that nothing here knows.
    """
    Taken.out_of(kwargs)  # are for whoever reads the file
    if unknown := kwargs.keys() - FETCHING:
        raise TypeError(
            f"There is no option {', '.join(sorted(unknown))}; a file is taken "
            f"with {', '.join([*vars(Taken()), *FETCHING])}."
        )
    place = str(filename)
    path = local_path(place)
    if path is not None and path.is_file():
        return str(path)
    if kwargs.get("savedir") is None:
        if is_url(place) and path is None:
            raise ValueError(
                f"{show(place)} is fetched into a folder; name it by "
                "savedir=FOLDER."
            )
        raise FileNotFoundError(
            f"There is no file {place}; pass a local audio file, or a "
            "URL or hub path together with savedir=FOLDER."
        )
    source, name = split_path(place)
    own = Path(name_of(place))
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape"))
    kept = f"{own.stem}-{digest.hexdigest()[:PLACE_DIGITS]}{own.suffix}"
    return str(fetch(name, source=source, save_filename=kept, **kwargs))


def licence_of(source: str) -> str:
    """Read what the head of a model's YAML says of its licence."""
    yaml = Path(str(resolve_source(source)), "hyperparams.yaml")
    if not yaml.is_file():  # a URL or a hub id
        return UNKNOWN
    found = LICENCE.search(yaml.read_text("utf-8"))
    return " ".join(found[1].replace("\n#", " ").split()) if found else UNKNOWN
