"""Baselines of the generator: what public maths of a few lines writes for a task that it has not seen, and generators.

The few lines take the seen tasks (S, bits) 0/1 and a matrix with one network's weights per task (S, P), and return
weights (U, P) for the tasks asked for. The autoregressive decoder and DeepWeightFlow are generators of their own,
without tasks.
"""
