"""IGPG (arXiv 2504.02012): one generator for several architectures, which writes the codes of chunks one after another.

Networks of several layouts are cut into chunks (`chunks`), chunks become codes of a VQ-VAE (`codes`), and a causal
transformer (`prior`) writes codes after a prefix of instruction, data set and architecture (`prefix`).

Shapes: N networks, L chunks of one network, K values of a chunk, C codes of a chunk, M entries of a codebook, H width.
"""
