"""Training a generator: the loop, its batches, averaged weights and sharding."""
