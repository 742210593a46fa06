"""One generator for several architectures and depths, IGPG and RPG: the experiment behind `25_igpg`."""
