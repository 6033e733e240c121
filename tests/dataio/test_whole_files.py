"""Files appear whole or not at all, and nothing is left beside them."""

import pytest

from speechbrain_llase.dataio.whole_files import whole_file


def test_whole_file(tmp_path):
    """What was written takes the place; after an error the old file stays."""
    path = tmp_path / "report.json"
    with whole_file(path) as partial:
        partial.write_text("first", "utf-8")
        assert partial.suffix == ".json" and partial.name[0] == "."
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text("half", "utf-8")
        raise ZeroDivisionError
    assert path.read_text("utf-8") == "first"
    assert list(tmp_path.iterdir()) == [path]
