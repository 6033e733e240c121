"""Which cluster is joined; none is started here."""

from types import SimpleNamespace

import pytest

from speechbrain_llase.bulk import ray_cluster
from speechbrain_llase.bulk.ray_cluster import Cluster, connected


@pytest.mark.parametrize(
    "given, environment, joined",
    [
        (None, None, "local"),  # not the one that happens to run here
        (None, "head:6379", "head:6379"),
        ("other:6379", "head:6379", "other:6379"),
    ],
)
def test_address(monkeypatch, given, environment, joined):
    calls = []
    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **options: calls.append(options),
        shutdown=lambda: None,
    )
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    with connected(Cluster(address=given)):
        (options,) = calls
    assert options["address"] == joined
    dashboard = False if joined == "local" else None  # no option of a client
    assert options["include_dashboard"] is dashboard


def test_a_folder_that_is_not_shared(tmp_path):
    from speechbrain_llase.bulk.ray_cluster import find_folder

    with pytest.raises(ValueError, match="out is not on .* machines share"):
        find_folder(str(tmp_path / "out"), "mark")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_start_is_refused(monkeypatch):
    """Ray raises all kinds of things; they are said in a line."""

    def init(**_):
        raise Exception("The current node\ntimed out during startup.")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: ray)
    with (
        pytest.raises(ValueError, match="at local: The current node timed out"),
        connected(Cluster(address="local")),
    ):
        pass
