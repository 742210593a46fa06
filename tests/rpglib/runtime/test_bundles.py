"""Files that belong together are old or new, whatever happens while they are replaced; damage is noticed."""

import os
import random
import shutil
import signal

import pytest

from rpglib.errors import InputError
from rpglib.runtime import bundles, files
from rpglib.runtime.bundles import read_bundle, write_bundle

NAMES = ("a.txt", "b.txt", "c.txt")


def save(folder, value):
    """A bundle whose every part says the same."""

    def write(place):
        for name in NAMES:
            with files.atomic(place / name) as part:
                part.write_text(f"{value}")

    return write_bundle(folder, "head.json", {"value": value}, write)


def load(folder):
    def read(bundle):
        found = {bundle.fields["value"], *(int(bundle.file(name).read_text()) for name in NAMES)}
        return found, bundle.digest

    (value,), digest = read_bundle(folder, "head.json", read)
    return value, digest


def in_child(work):
    """Run in a process of its own and return how that ended."""
    if (child := os.fork()) == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_is_written_is_read_and_known_by_its_content(tmp_path):
    digest = save(tmp_path / "x", 1)
    assert load(tmp_path / "x") == (1, digest) and save(tmp_path / "y", 1) == digest
    assert save(tmp_path / "x", 2) != digest and load(tmp_path / "x")[0] == 2
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [*NAMES, "head.json"]


def dying(step, folder, value):
    """Save in a process that dies before the step-th time that it would change a name; how that ended."""

    def killed():
        calls = iter(range(1000))

        def instead_of(real):
            def instead(*arguments, **options):
                if next(calls) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return instead

        for name in ("replace", "mkdir", "rmdir", "unlink"):
            setattr(os, name, instead_of(getattr(os, name)))
        save(folder, value)

    return in_child(killed)


def test_killed_at_any_step_it_is_the_old_or_the_new_one(tmp_path):
    seen, waiting = [], None
    for step in range(1000):
        folder = tmp_path / str(step)
        save(folder, 1)
        (folder / "README.md").touch()
        ended = dying(step, folder, 2)
        seen.append(load(folder)[0])
        if seen[-1] == 2 and waiting is None:
            waiting = shutil.copytree(folder, tmp_path / "waiting")
        save(folder, 3)
        assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, "head.json", "README.md"])
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert step > 10 and seen[0] == 1 and seen[-1] == 2 and seen == sorted(seen), seen
    # Its files have not moved to their places yet when the very same is saved once more, and killed.
    for step in range(0, 1000, 3):
        folder = shutil.copytree(waiting, tmp_path / f"again{step}")
        ended = dying(step, folder, 2)
        assert load(folder)[0] == 2
        if ended == 0:
            break


def test_what_is_replaced_while_it_is_read_is_read_again(tmp_path):
    save(tmp_path, 1)
    calls = []

    def read(bundle):
        found = [bundle.file(name) for name in NAMES]
        calls.append(bundle.fields["value"])
        if len(calls) == 1:
            save(tmp_path, 2)
        return calls[-1], *(int(path.read_text()) for path in found)

    assert read_bundle(tmp_path, "head.json", read) == (2, 2, 2, 2) and calls == [1, 2]


def test_a_save_that_fails_leaves_the_old_one_and_names_the_file(tmp_path):
    digest = save(tmp_path, 1)

    def full(place):
        with files.atomic(place / "a.txt") as part:
            part.write_text("2")
        with files.atomic(place / "b.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=rf"cannot write {tmp_path}/b\.txt: No space left on device") as caught:
        write_bundle(tmp_path, "head.json", {"value": 2}, full)
    assert "what was there before is unchanged" in str(caught.value) and load(tmp_path) == (1, digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*NAMES, "head.json"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        save(tmp_path / "file" / "x", 1)


def test_everything_is_on_the_disk_before_the_switch(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.fstat(fd).st_ino) or fsync(fd))

    def named(source, target):
        if str(target).endswith("head.json"):
            waiting = next(tmp_path.glob(f"{bundles.WAITING}*"))
            wanted = {path.stat().st_ino for path in (*waiting.iterdir(), tmp_path, source)}
            assert wanted <= set(done) and len(wanted) == 5
            done.append("switched")
        return replace(source, target)

    monkeypatch.setattr(os, "replace", named)
    save(tmp_path, 1)
    assert done.count("switched") == 1


@pytest.mark.parametrize("name", ["head.json", "b.txt"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path, name):
    save(tmp_path, 12345678)
    whole, noticed, draw = (tmp_path / name).read_bytes(), 0, random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (tmp_path / name).write_bytes(content)
        try:
            assert load(tmp_path)[0] == 12345678
        except InputError as error:
            assert "\n" not in str(error)
            noticed += 1
    # Of a space between two words another space may become.
    assert noticed > 140


def test_a_head_that_names_other_files_reaches_none_of_them(tmp_path):
    save(tmp_path / "x", 1)
    (tmp_path / "secret").write_text("1")
    fields = {"value": 1}
    names = {"../secret": files.sha256(tmp_path / "secret")}
    files.write_json(tmp_path / "x" / "head.json", fields | {"files": names, "digest": bundles._digest(fields, names)})
    with pytest.raises(InputError, match=r"names no a\.txt"):
        load(tmp_path / "x")
    save(tmp_path / "x", 2)
    assert (tmp_path / "secret").read_text() == "1" and load(tmp_path / "x")[0] == 2


def test_files_that_move_one_by_one_while_they_are_read_are_found(tmp_path, monkeypatch):
    """A reader finds each file where it waits, and opens it where it no longer is."""
    monkeypatch.setattr(bundles, "_settle", lambda bundle: None)
    with monkeypatch.context() as patch:
        patch.setattr(bundles.shutil, "rmtree", lambda path, **options: None)
        save(tmp_path, 1)
    (waiting,) = tmp_path.glob(f"{bundles.WAITING}*")
    found = bundles.Bundle.file

    def moved(bundle, name):
        path = found(bundle, name)
        if path.parent == waiting:
            path.rename(tmp_path / name)
        return path

    monkeypatch.setattr(bundles.Bundle, "file", moved)
    assert load(tmp_path)[0] == 1


def test_readers_and_writers_at_once_see_one_save_each(tmp_path):
    save(tmp_path, 0)
    running = []
    for value in (1, 2):
        if (child := os.fork()) == 0:
            try:
                for _ in range(6):
                    save(tmp_path, value)
                os._exit(0)
            except BaseException:
                os._exit(1)
        running.append(child)
    found, ended = set(), []
    while len(ended) < 2:
        found.add(load(tmp_path)[0])
        ended += [status for child in running if (status := os.waitpid(child, os.WNOHANG))[0]]
        running = [child for child in running if child not in {process for process, _ in ended}]
    assert [status for _, status in ended] == [0, 0]
    assert found <= {0, 1, 2} and load(tmp_path)[0] in (1, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*NAMES, "head.json"]
