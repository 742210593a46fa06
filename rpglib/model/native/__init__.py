"""The denoiser for sampling on a CPU as machine code: faster, and the method reads without it."""
