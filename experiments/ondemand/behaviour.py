"""What the generator is asked: that each network classifies images as they are taken under its own circumstances."""

from torch import Generator, Tensor

from experiments.ondemand.family import background_of, draw, taken
from rpglib.training.behaviour import ClassificationBehaviour
from rpglib.zoo.architectures import Architecture
from rpglib.zoo.images import Split


class UnderCircumstances(ClassificationBehaviour):
    """Circumstances are drawn from the seen ranges alone; nothing that is held out is ever asked about."""

    def __init__(self, images: Split, architecture: Architecture, **options):
        super().__init__(images, architecture, disagreement=0.0, **options)
        self.background = background_of(images)

    def conditions(self, n: int, generator: Generator) -> Tensor:
        return draw(n, generator)

    def see(self, images: Tensor, labels: Tensor, rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        return taken(images, rows, self.background, generator), labels
