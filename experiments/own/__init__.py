"""A person's own networks: from a folder of checkpoints to a generator, its measures and its files."""
