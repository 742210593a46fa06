"""Threads of our own use one core each, and leave PyTorch's number as it was, in threads that start later, too."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from rpglib.runtime.threads import one_core_threads
from rpglib.training.batches import ahead


@pytest.fixture
def three():
    """PyTorch has three threads here: with one nothing could be told apart."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def number_here_and_in_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return torch.get_num_threads(), pool.submit(torch.get_num_threads).result()


@pytest.mark.parametrize("count", [1, 4])
def test_each_uses_one_core(three, count):
    with one_core_threads(count, "test") as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(20))) == {1}
        assert number_here_and_in_a_new_thread() == (3, 3)
    assert number_here_and_in_a_new_thread() == (3, 3)


def test_batches_made_ahead_leave_no_thread_with_one(three):
    """Streamed training: while it goes on, when it ends, and where it breaks off."""
    made = ahead(lambda step: torch.get_num_threads(), range(3))
    assert next(made) == 1 and number_here_and_in_a_new_thread() == (3, 3)
    made.close()
    assert number_here_and_in_a_new_thread() == (3, 3)
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda step: 1 // step, range(2)))
    assert list(ahead(lambda step: step, range(3))) == [0, 1, 2]
    assert number_here_and_in_a_new_thread() == (3, 3)
