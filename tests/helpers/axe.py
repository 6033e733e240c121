"""axe-core, which finds what a page keeps from some of its visitors."""

import tarfile

from npm import npm_package

SHA512 = (  # of the package, as npm states it
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)
SERIOUS = ("serious", "critical")


def axe_script() -> str:
    """The text of axe.min.js; the test is skipped where there is none."""
    with tarfile.open(npm_package("axe-core", "4.14.1", SHA512)) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def axe_findings(tab) -> list[str]:
    """What axe-core calls serious on the page in a tab, as it is."""
    tab.evaluate(axe_script())
    found = tab.evaluate("() => axe.run(document)")
    assert len(found["passes"]) > 10
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found["violations"]
        for node in one["nodes"]
        if one["impact"] in SERIOUS
    ]
