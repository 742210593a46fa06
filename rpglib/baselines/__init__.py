"""Rivals of the generator: what public maths of a few lines writes for a task that it has not seen.

Each takes the seen tasks (S, bits) 0/1 and a matrix with one network's weights per task (S, P), and returns weights
(U, P) for the tasks asked for.
"""
