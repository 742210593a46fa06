"""Random streams of their own for every purpose: seeds that are neighbours share nothing."""

import functools
import hashlib


@functools.lru_cache(maxsize=4096)
def stream(seed: int, purpose: str, *index: int) -> int:
    """A number from 0 to 2^63 - 1 that starts a random stream: of one purpose and index, under one seed.

    It is a hash, so that seeds, purposes and indices that are neighbours lead to streams that are not; `seed + index`
    would give network 1 of seed 0 what network 0 of seed 1 has, and a spread over seeds that is too small. Two may meet
    by chance: of a million streams hardly two do or, where torch's generator on the CPU reads 32 bits of the number, a
    hundred pairs.
    """
    words = f"{seed} {purpose} {' '.join(map(str, index))}".encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1
