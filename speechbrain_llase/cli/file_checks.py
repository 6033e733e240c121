"""Which official file a file is, and what of it is used."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from speechbrain_llase.cli.common import one_line
from speechbrain_llase.cli.doctor import Finding
from speechbrain_llase.pretrained.convert import (
    ENHANCING,
    networks_with,
    sha256,
)
from speechbrain_llase.pretrained.dimensions import (
    network_dimensions,
    read_config,
)
from speechbrain_llase.pretrained.official import LAYER, recognise
from speechbrain_llase.pretrained.pickles import listed, passed_over
from speechbrain_llase.pretrained.tensors import (
    StoredTensor,
    is_safetensors,
    misfits,
    open_tensors,
)


def check_file(path: Path) -> Iterator[Finding]:
    """Compare a file as it was downloaded with the official ones.

    Says what it is, its size and checksum, the networks that it fills, the
    rest.
    """
    try:
        tensors = open_tensors(str(path))
    except ValueError as err:
        yield Finding(False, one_line(err))
        return
    official = recognise(tensors, not is_safetensors(path))
    if official is None:
        yield Finding(
            False,
            f"{path} is like none of the official files; it has "
            f"{len(tensors)} tensors: {listed(list(tensors), 3)}",
        )
        return
    yield Finding(True, f"{path} has the tensors of {official}")
    size = path.stat().st_size
    if differs := official.differs(size):
        yield Finding(True, differs, is_warning=True)
    else:
        known = (
            "as published" if official.size else "the published size is unknown"
        )
        yield Finding(True, f"{size:,} bytes, {known}")
    yield Finding(True, f"SHA-256 {sha256(path)}")
    yield from check_networks(path, official.part, tensors)
    if objects := passed_over(str(path)):
        yield Finding(True, f"not run: objects of {', '.join(objects)}")


def check_networks(
    path: Path, part: str, tensors: dict[str, StoredTensor]
) -> Iterator[Finding]:
    """Say which networks a file fills, and what none of them takes."""
    used = set()
    for name, (file, *_) in networks_with(tensors).items():
        may_be_inside = part == "codec" and file == "w2v_bert"
        if file != part and not may_be_inside:
            continue
        try:
            finding, names = check_network(name, path, tensors)
        except ValueError as err:
            yield Finding(may_be_inside, f"{name}: {one_line(err)}")
        else:
            yield finding
            used |= names
    unused = (name.removeprefix("module.") for name in tensors.keys() - used)
    rest = Counter(name.split(".")[0] for name in unused)
    if rest:
        groups = [f"{name} ({count})" for name, count in rest.most_common()]
        yield Finding(
            True, f"not used: {rest.total()} tensors: {listed(groups)}"
        )


def check_network(
    name: str, path: Path, tensors: dict[str, StoredTensor]
) -> tuple[Finding, set[str]]:
    """Whether a file fills a network, and with which tensors."""
    _, kind, select = networks_with(tensors)[name]
    config = read_config(str(path)) if name == "frontend" else {}
    # no shape depends on the number of heads
    dims = network_dimensions(name, tensors, config, 1, 1, LAYER)
    with torch.device("meta"):  # shapes alone
        module = kind(**dims)
    selected = select(module, tensors)
    problems = misfits(module, selected)
    names = {n for t in selected.values() for n in t.names}
    purpose = "enhancement" if name in ENHANCING else "training"
    if problems:
        found = [f"{what}: {listed(keys)}" for what, keys in problems.items()]
        text = f"{name} (for {purpose}) does not fit. {'; '.join(found)}"
        return Finding(name not in ENHANCING, text), names
    weights = sum(tensors[n].shape.numel() for n in names) / 1e6
    text = f"{name} (for {purpose}): {len(names)} tensors, {weights:.1f} M"
    return Finding(True, f"{text} weights, all that it needs"), names
