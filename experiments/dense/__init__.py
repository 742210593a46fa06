"""Segmentation and detection networks, written by a generator whole: the experiment behind `27_dense`."""
