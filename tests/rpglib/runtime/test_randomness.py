"""Streams of neighbours differ, and are the same everywhere and always."""

from itertools import product

from rpglib.runtime.randomness import stream


def test_no_two_of_seed_purpose_and_index_share_a_stream():
    keys = [(s, p, i, j) for s, p, i, j in product(range(-3, 20), ("noise", "state"), range(20), range(3))]
    keys += [(s, p) for s, p in product(range(20), ("noise", "noise 1"))]
    assert len({stream(*key) for key in keys}) == len(keys)


def test_a_stream_is_a_number_that_every_generator_takes_and_never_changes():
    assert stream(0, "noise", 1) == 1984530726469729524
    assert all(0 <= stream(seed, "x") < 2**63 for seed in range(1000))
