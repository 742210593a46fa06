"""Locks name their holder and end with it; of working folders every process has its own."""

import os
import signal
import threading
import time

import pytest

from rpglib.errors import InputError
from rpglib.runtime import locks
from rpglib.runtime.locks import locked, working_folder


def holding(path, work=lambda: time.sleep(60)):
    """A process that holds the lock and works."""
    if (child := os.fork()) == 0:
        with locked(path):
            work()
        os._exit(0)
    while not path.exists() or not path.read_text():
        time.sleep(0.01)
    return child


def test_a_lock_that_is_held_is_told_by_its_holder_and_free_when_that_is_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "NOTICE", 0.05)
    path = tmp_path / "folder" / "x.lock"
    holder = holding(path)
    with pytest.raises(
        InputError, match=rf"held by process {holder} on .* since \d\d\d\d-.* for 0\.2 s; wait"
    ) as caught:
        with locked(path, 0.2):
            pytest.fail("two hold it")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err.startswith("waiting for ")
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with locked(path, 5):
        assert f"process {os.getpid()} " in path.read_text()
    assert not list(path.parent.iterdir()), "nothing is left"


def test_whoever_waits_comes_in_when_the_other_has_finished(tmp_path):
    at_work, most = [], []

    def work():
        for _ in range(5):
            with locked(tmp_path / "x.lock"):
                at_work.append(1)
                time.sleep(0.005)
                most.append(len(at_work))
                at_work.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 15


def test_a_lock_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"), locked(tmp_path / "file" / "x.lock"):
        pass


def test_unfinished_work_goes_on_unless_another_is_at_it(tmp_path):
    path = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt), working_folder(path) as folder:
        assert folder == path
        folder.mkdir()
        (folder / "half").touch()
        raise KeyboardInterrupt
    with working_folder(path) as folder, working_folder(path) as other:
        assert (folder / "half").exists() and other == tmp_path / "work.2"
        other.mkdir()
    assert not list(tmp_path.iterdir()), "finished work is removed"
