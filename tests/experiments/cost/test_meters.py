"""The clock of steps by hand, and memory that is held for a moment only."""

import mmap
import time

from experiments.cost.meters import Clock, held


def test_steps_in_the_median_without_those_that_warm_up():
    clock = Clock(iter([0.0, 9.0, 10.0, 12.0, 15.0]).__next__)
    for step in range(5):
        clock(step, None)
    assert (clock.median(), clock.median(warm=2), clock.median(warm=3)) == (2.5, 2.0, 2.5)


def test_memory_that_is_given_back_was_held():
    # Not of an allocator that may have it in hand from before.
    with held() as samples, mmap.mmap(-1, 2**26) as block:
        block.write(b"1" * 2**26)
        time.sleep(0.05)
    assert max(samples) - samples[0] > 0.9 * 2**26
