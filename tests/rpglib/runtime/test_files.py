"""Files are whole or absent: an error, an interrupt or a full disk leaves the old content and no rubbish."""

import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from rpglib.errors import InputError
from rpglib.runtime import files
from rpglib.runtime.files import atomic, read_json, save_tensors, write_json


def test_lists_of_numbers_stand_on_one_line_and_strings_stay_as_they_are(tmp_path):
    value = {"x": [1, 2.5, None], "y": [[1, -2e-9], []], "z": ["[\n 1,\n 2\n]", "a, b"], "w": [{"v": [True]}]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    lines = [line.strip() for line in (tmp_path / "x.json").read_text().splitlines()]
    assert '"x": [1, 2.5, null],' in lines and "[1, -2e-09]," in lines and '"v": [true]' in lines


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


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def kept(descriptor):
        done.append(("flushed", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", kept)
    monkeypatch.setattr(os, "replace", lambda a, b: done.append(("named", os.stat(a).st_ino)) or replace(a, b))
    write_json(tmp_path / "record.json", 1)
    save_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(2)})
    for name in ("record.json", "x.safetensors"):
        file, folder = (tmp_path / name).stat().st_ino, tmp_path.stat().st_ino
        step = done.index(("named", file))
        assert ("flushed", file) in done[:step] and done[step + 1] == ("flushed", folder)


def test_what_dead_processes_left_is_removed_by_the_next_write(tmp_path):
    if (dead := os.fork()) == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    own = files.part_of(tmp_path / "x.json").name

    def part(process, machine=None, age=0.0):
        name = own.replace(files._machine(), machine or files._machine()).replace(f"-{os.getpid()}-", f"-{process}-")
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
        return name

    day = files.ABANDONED
    gone = {part(dead), part(dead, "0" * 8, day + 60)}
    kept = {part(os.getppid()), part(dead, "1" * 8), part(os.getpid(), age=2 * day), ".x.part-7.json", "x.part"}
    (tmp_path / ".x.part-7.json").touch()
    (tmp_path / "x.part").touch()
    folder = tmp_path / own.replace(f"-{os.getpid()}-", f"-{dead}-").replace(".json", "")
    folder.mkdir()
    (folder / "inside").touch()
    write_json(tmp_path / "other.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == kept | {"other.json"} and not gone & kept


def test_two_parts_of_one_file_are_two(tmp_path):
    with atomic(tmp_path / "x.json") as one, atomic(tmp_path / "x.json") as two:
        one.write_text("1")
        two.write_text("2")
    assert one != two and (tmp_path / "x.json").read_text() == "1"


def test_a_link_stays_and_a_device_is_refused(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "far" / "real.json")
    write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "far" / "real.json").read_text() == "1\n"
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "null.json").symlink_to("/dev/null")
    for name in ("pipe.json", "null.json", "far"):
        with pytest.raises(InputError, match="it is a folder or a device; choose another name"):
            write_json(tmp_path / name, 1)
    assert stat.S_ISFIFO((tmp_path / "pipe.json").stat().st_mode) and Path("/dev/null").is_char_device()


def test_tensors_can_be_read_by_whom_the_user_lets_read(tmp_path):
    before = os.umask(0o027)
    try:
        save_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(2)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.safetensors").stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"", b"{'a': 1}"])
def test_what_is_no_json_is_told_in_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json is not valid JSON") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read"):
        read_json(tmp_path)


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


def test_parts_go_with_their_process_or_with_time(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        here, young, old = files._machine(), time.time(), time.time() - files.ABANDONED - 60
        made = {
            "running": (here, running.pid, old),
            "gone": (here, gone.pid, young),
            "elsewhere": ("0" * len(here), gone.pid, young),
            "forgotten": ("0" * len(here), gone.pid, old),
        }
        for name, (machine, process, since) in made.items():
            path = tmp_path / f".{name}.part-{machine}-{process}-0a1b2c3d.json"
            path.write_text("{}")
            os.utime(path, (since, since))
        files.tidy(tmp_path)
        assert {path.name.split(".")[1] for path in tmp_path.iterdir()} == {"running", "elsewhere"}
        assert running.poll() is None, "asking after a process must not end it"
        running.communicate(b"\n")
