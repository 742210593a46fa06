"""IGPG (arXiv 2504.02012): one generator for several architectures, which writes the codes of chunks one after another.

Networks of several layouts are cut into chunks (`rpglib.tokenizer.several`), chunks become codes of a VQ-VAE
(`codes`), and a causal transformer (`prior`) writes codes after a prefix of instruction, data set and architecture
(`prefix`). Deviation: chunks are the tokens of a layout; the paper flattens a whole network, scales it by one number
and pads its end, where a chunk holds different tensors in every architecture.

Shapes: N networks, L chunks of one network, K values of a chunk, C codes of a chunk, M entries of a codebook, H width.
"""
