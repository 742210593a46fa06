"""A fingerprint of code sees every change of it, and nothing else."""

import pytest

from rpglib.runtime.sources import LIBRARY, sources_digest


@pytest.fixture
def package(tmp_path):
    (tmp_path / "package" / "part").mkdir(parents=True)
    for name in ("a.py", "part/b.py", "part/c.cpp", "notes.md"):
        (tmp_path / "package" / name).write_text(name)
    return tmp_path / "package"


def digest(*parts):
    return sources_digest.__wrapped__(*parts)


@pytest.mark.parametrize("name", ["a.py", "part/b.py", "part/c.cpp", "new.py"])
def test_a_change_is_seen(package, name):
    before = digest(package)
    (package / name).write_text("changed")
    assert digest(package) != before


def test_a_new_name_is_seen_and_other_files_are_not(package):
    before = digest(package)
    (package / "notes.md").write_text("changed")
    assert digest(package) == before and digest(package / "a.py") != before
    (package / "a.py").rename(package / "z.py")
    assert digest(package) != before


def test_the_library_is_this_one():
    assert (LIBRARY / "model" / "native" / "kernel.cpp").exists() and len(digest(LIBRARY)) == 16
