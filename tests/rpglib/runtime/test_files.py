"""Files are whole or absent: an error, an interrupt or a full disk leaves the old content and no rubbish."""

import subprocess
import sys
import textwrap

import pytest

from rpglib.errors import InputError
from rpglib.runtime.files import atomic, read_json, write_json


def test_json_round_trip_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": [1, 2.5, None], "ä": "ö"})
    assert read_json(path) == {"x": [1, 2.5, None], "ä": "ö"}
    assert [item.name for item in path.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_in_the_block_keeps_the_old_content(tmp_path, error):
    path = tmp_path / "record.json"
    path.write_text("old")
    with pytest.raises(error), atomic(path) as part:
        part.write_text("half of the ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")
    with atomic(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.suffix == ".json"
    assert path.read_text() == "new"


def test_not_finite_numbers_are_never_written(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "record.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


# The limit on the size of a file makes the operating system refuse the write as a full disk does, half way through.
FULL_DISK = """
    import resource, signal, sys
    from rpglib.errors import InputError
    {imports}
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        {write}
    except InputError as error:
        sys.exit(f"error: {{error}}")
"""
WRITERS = {
    "json": ("from rpglib.runtime.files import write_json", "write_json('old', 'x' * 100_000)"),
    "record": (
        "from experiments.records import write_record",
        "write_record('old', 'cpu', {'a': [0.5] * 9999}, config={}, seeds=[0], n=1, wall_seconds=1, data_source='')",
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch, writer):
    imports, write = WRITERS[writer]
    monkeypatch.setenv("RPG_HOME", str(tmp_path))
    target = tmp_path / "old" if writer == "json" else tmp_path / "data" / "results" / "cpu" / "old.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("old")
    script = textwrap.dedent(FULL_DISK).format(imports=imports, write=write)
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("error: cannot write ") and result.stderr.count("\n") == 1
    assert "File too large; free space" in result.stderr
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match=r"cannot write .*b\.json"):
        write_json(tmp_path / "a" / "b.json", 1)


def test_absent_and_broken_json(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": 1')
    with pytest.raises(InputError, match=r"half\.json is not valid JSON"):
        read_json(tmp_path / "half.json")


TENSORS_ON_A_FULL_DISK = """
import resource, sys, torch
from rpglib.errors import InputError
from rpglib.runtime.files import save_tensors
from rpglib.training.loop import _save
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
big = torch.zeros(100_000)
for save in (
    lambda: save_tensors(folder / "a.safetensors", {"x": big}),
    lambda: _save(folder / "training.pt", {"model": {"x": big}}),
):
    try:
        save()
        print("no error")
    except InputError as error:
        print("told:", error)
"""


def test_a_full_disk_is_told_by_every_writer_of_tensors(tmp_path):
    call = subprocess.run([sys.executable, "-c", TENSORS_ON_A_FULL_DISK, tmp_path], capture_output=True, text=True)
    lines = call.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith("told: cannot write") for line in lines), call.stdout + call.stderr
    assert not list(tmp_path.iterdir())
