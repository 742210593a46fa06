"""Baselines of the generator: what a few lines of public maths write for an unseen task, and published generators.

The few lines (`tasks`, `kernel_ridge`) take the seen tasks (S, bits) 0/1 and a matrix with one network's weights per
task (S, P), and return weights (U, P) for the tasks asked for. The autoregressive decoder writes a tokenizer's tokens.
All other generators have one face, `generator.WeightGenerator`: `fit`, `generate`, `save_pretrained`.
"""
