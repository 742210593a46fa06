"""Where training checkpoints come from: images, target networks, their training, and the store of what it leaves."""

from rpglib.zoo.architectures import Architecture
from rpglib.zoo.collect import CollectConfig, collect
from rpglib.zoo.images import Images, load_images
from rpglib.zoo.store import Zoo

__all__ = ["Architecture", "CollectConfig", "Images", "Zoo", "collect", "load_images"]
