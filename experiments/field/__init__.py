"""Published generators beside RPG, on the same zoos: what `24_baselines` computes."""
