"""Measures on networks; each states its definition and where it comes from."""
