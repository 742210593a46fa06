"""Where training checkpoints come from: images, target networks, collecting, and their store."""
