"""The minimal filtering algorithm, the kernel against PyTorch, and how it is compiled and kept."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from denoisers import SMALL, denoiser, inputs, reference

from rpglib.errors import InputError
from rpglib.model.folded import TorchDenoiser, folded
from rpglib.model.native import kernel as native
from rpglib.model.native.kernel import NativeDenoiser, powers, transforms

needs_compiler = pytest.mark.skipif(native._library() is None, reason="no C++ compiler")


def test_the_minimal_filtering_algorithm_is_a_correlation():
    outputs, taps = transforms()
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(14, generator=generator, dtype=torch.float64)
    weights = torch.randn(7, generator=generator, dtype=torch.float64)
    found = outputs @ ((taps @ weights) * torch.linalg.solve(powers(14).T, data))
    expected = torch.stack([data[i : i + 7] @ weights for i in range(8)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@needs_compiler
@pytest.mark.parametrize("size", [1, 8, 63, 64, 65, 100, 256, 1000])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_kernel_agrees_with_pytorch(size, count):
    model = denoiser(size, SMALL)
    given = inputs(count, size)
    kernel = folded(model)
    assert isinstance(kernel, NativeDenoiser)
    expected = reference(model, *given)
    torch.testing.assert_close(kernel(*given), expected, rtol=0, atol=2e-4 * max(1.0, expected.abs().max().item()))


@needs_compiler
@pytest.mark.parametrize("channels", [(1, 1, 1), (1, 5, 1), (1, 13, 26, 13, 1), (1, 32, 64, 128, 64, 32, 1)])
def test_the_kernel_knows_any_number_of_channels(channels):
    model = denoiser(72, channels)
    given = inputs(3, 72)
    torch.testing.assert_close(folded(model, kernel="native")(*given), reference(model, *given), rtol=0, atol=1e-3)


@needs_compiler
def test_a_token_does_not_depend_on_its_neighbours_or_the_threads():
    model = denoiser(64, SMALL)
    noisy, time, condition = inputs(7, 64)
    kernel, threads = folded(model), torch.get_num_threads()
    together = kernel(noisy, time, condition)
    for k in range(7):
        assert torch.equal(kernel(noisy[k : k + 1], time, condition[k : k + 1])[0], together[k])
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert torch.equal(kernel(noisy, time, condition), together)
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_the_kernel_takes_views_and_keeps_what_it_is_given():
    model = denoiser(64, SMALL)
    noisy, time, condition = inputs(4, 64)
    wide = torch.cat((noisy, noisy), 1)
    kernel = folded(model)
    assert torch.equal(kernel(wide[:, :64], time, condition), kernel(noisy, time, condition))
    assert torch.equal(wide[:, :64], noisy)


@needs_compiler
def test_large_values_saturate_and_nan_stays_nan():
    model = denoiser(64, (1, 8, 1))
    noisy, time, condition = inputs(2, 64)
    found = folded(model)(noisy * 1e4, time, condition)
    expected = reference(model, noisy * 1e4, time, condition)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    noisy[0, 5] = torch.nan
    found = folded(model)(noisy, time, condition)
    assert found[0].isnan().any() and found[1].isfinite().all()


def test_without_a_compiler_pytorch_computes(monkeypatch):
    monkeypatch.setattr(native, "_library", lambda: None)
    model = denoiser(64, SMALL)
    assert isinstance(folded(model), TorchDenoiser)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler"):
        folded(model, kernel="native")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rpglib"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A kernel, compiled once for all tests that need one in their cache."""
    folder = tmp_path_factory.mktemp("compiled")
    return native._compiled(["c++"], folder, "denoiser")


def library():
    return native._library.__wrapped__()


def test_the_kernel_is_kept_in_the_user_s_cache_and_nowhere_else(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for nowhere in ("", "relative/cache"):  # as good as absent
        monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
        monkeypatch.setenv("CXX", "false")  # compiles nothing, in no time
        assert library() is None
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert list((tmp_path / "home/.cache/rpglib").iterdir()) == []


def test_where_there_is_no_home_pytorch_computes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert library() is None
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert library() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "compiler",
    ["/no/such/c++", "ccache-that-is-not-there c++", '"c++', "  ", "true", "echo", "cat", "/tmp", "c++ -no-such-flag"],
)
def test_whatever_the_compiler_is_generation_goes_on(monkeypatch, cache, compiler):
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setattr(native, "_library", native._library.__wrapped__)
    assert isinstance(folded(denoiser(64, SMALL)), TorchDenoiser)
    assert list(cache.rglob("*")) == []


def test_a_compiler_that_hangs_is_given_up(monkeypatch, cache, tmp_path):
    (tmp_path / "hang").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "hang").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "hang"))
    monkeypatch.setattr(native, "COMPILE_SECONDS", 0.2)
    begun = time.monotonic()
    assert library() is None and list(cache.iterdir()) == []
    assert time.monotonic() - begun < 30


@pytest.fixture
def copied(monkeypatch, cache, compiled):
    """A cache with the kernel in it and a compiler that copies it, with arguments of its own; each call is noted."""
    script, calls = cache.parent.parent / "copy it", cache.parent.parent / "calls"
    script.write_text(f'#!/bin/sh\necho call >> "{calls}"\nfor out; do :; done\ncat "{compiled}" > "$out"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{script}' -with an -argument")
    assert library() is not None
    return cache, lambda: len(calls.read_text().split())


@needs_compiler
def test_a_compiler_may_have_arguments_and_is_called_once(copied):
    cache, calls = copied
    assert library() is not None and calls() == 1
    assert len(list(cache.iterdir())) == 1 and cache.stat().st_mode & 0o777 == 0o700


@needs_compiler
@pytest.mark.parametrize("what", ["source", "flags", "processor", "compiler"])
def test_a_kernel_of_another_source_or_machine_is_not_taken_for_this_one(copied, monkeypatch, tmp_path, what):
    cache, calls = copied
    if what == "source":
        (tmp_path / "changed.cpp").write_text(native.SOURCE.read_text() + "// changed")
        monkeypatch.setattr(native, "SOURCE", tmp_path / "changed.cpp")
    elif what == "flags":
        monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-g"))
    elif what == "processor":
        monkeypatch.setattr(native, "_processor", lambda: "another one")
    else:
        monkeypatch.setenv("CXX", os.environ["CXX"] + " -other")
    assert library() is not None and calls() == 2
    assert len(list(cache.iterdir())) == 2


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "garbage"])
def test_a_kept_kernel_that_is_not_whole_is_not_loaded_but_made_again(copied, damage):
    cache, calls = copied
    (kept,) = cache.iterdir()
    good = kept.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    kept.unlink()  # this process has mapped it
    kept.write_bytes({"cut": good[:middle], "bit": flipped, "empty": b"", "garbage": b"x" * len(good)}[damage])
    assert library() is not None and calls() == 2
    assert kept.read_bytes() == good and len(list(cache.iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_may_write_is_not_trusted(copied, mode):
    cache, calls = copied
    cache.chmod(mode)
    assert library() is None and calls() == 1
    cache.chmod(0o755)
    assert library() is not None and calls() == 1


@needs_compiler
def test_neither_is_another_s_folder_or_file_or_a_link(copied, monkeypatch, tmp_path):
    cache, _ = copied
    (kept,) = cache.iterdir()
    kept.chmod(0o666)
    assert not native._whole(kept)
    kept.chmod(0o644)
    assert native._whole(kept)
    os.symlink(kept, link := tmp_path / kept.name)
    assert not native._whole(link)
    os.symlink(cache, tmp_path / "folder")
    assert not native._only_ours(tmp_path / "folder")
    owner = os.geteuid()
    found = os.lstat(cache)
    theirs = os.stat_result((*found[:4], owner + 1, *found[5:]))
    monkeypatch.setattr(Path, "lstat", lambda self: theirs)
    assert library() is None


@needs_compiler
def test_a_cache_that_cannot_be_written_serves_what_it_has(copied, monkeypatch):
    cache, calls = copied

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert library() is not None and calls() == 1
    next(cache.iterdir()).unlink()
    assert library() is None
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert library() is None


@needs_compiler
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_whatever_the_umask_nobody_else_may_write_the_kernel(copied, umask):
    cache, _ = copied
    before = os.umask(umask)
    try:
        next(cache.iterdir()).unlink()
        assert library() is not None
    finally:
        os.umask(before)
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o022 == 0


def test_what_the_kernel_cannot_do_is_said():
    assert isinstance(folded(denoiser(64, SMALL, 5)), TorchDenoiser)
    with pytest.raises(InputError, match="convolutions of size 7, not 5"):
        folded(denoiser(64, SMALL, 5), kernel="native")
    with pytest.raises(InputError, match="fp32 on a CPU, not"):
        folded(denoiser(64, SMALL), torch.bfloat16, kernel="native")
    with pytest.raises(InputError, match="unknown kernel"):
        folded(denoiser(64, SMALL), kernel="fast")


def test_threads_of_the_kernel_keep_nothing_for_gradients():
    """Whether gradients are kept is each thread's own: what the caller has switched off is on in a new one."""
    seen, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            list(native.in_threads([torch.arange(4)], lambda rows: seen.append(torch.is_grad_enabled()) or rows))
    finally:
        torch.set_num_threads(before)
    assert seen == [False, False]


def test_threads_of_the_kernel_use_one_core_each():
    before = torch.get_num_threads()
    native._pool.cache_clear()
    assert set(native._pool(2).map(lambda _: torch.get_num_threads(), range(8))) == {1}
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == before == torch.get_num_threads()
