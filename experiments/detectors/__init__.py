"""Detectors of selected classes, written by a generator: the experiment behind `28_detectors`."""
