"""IGPG: one generator for several architectures, depths and data sets: the experiment behind `25_igpg`."""
