"""Adapters of a language model, written by a generator: the experiment behind `26_adapters`."""
