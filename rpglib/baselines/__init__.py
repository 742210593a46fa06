"""Baselines of the generator: what public maths of a few lines writes for a task that it has not seen, and a decoder.

The few lines take the seen tasks (S, bits) 0/1 and a matrix with one network's weights per task (S, P), and return
weights (U, P) for the tasks asked for. The autoregressive decoder is a generator of its own, without tasks.
"""
