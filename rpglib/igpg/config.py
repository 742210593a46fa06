"""Sizes of an IGPG generator, and how it is trained."""

from dataclasses import asdict, dataclass

from rpglib.errors import InputError, check_types, choice, shown, whole_number
from rpglib.model.config import MOST_SIZE

QUANTISERS = ("nearest", "gumbel")
MOST_CODEBOOK = 2**15


@dataclass(frozen=True)
class IGPGConfig:
    """What an IGPG generator is made of.

    Of the codes: chunk: values K of a chunk; codes: how many, C, stand for one chunk, each from a codebook of its own
    with `codebook` entries M of `code_width` numbers; code_hidden: width of encoder and decoder; quantiser: "nearest"
    entry (VQ-VAE) or "gumbel" (a hard straight-through sample in training, the paper's).
    Of the prior: width, layers and headdim of the transformer; context: over how many chunks before it a chunk may
    look, the sliding window; text: what embeds instructions, "ngrams" or the name of a sentence-transformers model
    whose weights are at hand; text_features: length of such an embedding (of "ngrams"; models have their own).
    Raises `InputError` for sizes that no generator has.
    """

    chunk: int = 128
    codes: int = 128
    codebook: int = 16
    code_width: int = 1
    code_hidden: int = 256
    quantiser: str = "nearest"
    width: int = 192
    layers: int = 3
    headdim: int = 32
    context: int = 128
    text: str = "ngrams"
    text_features: int = 512

    def __post_init__(self):
        check_types(self)
        for name in ("chunk", "codes", "code_width", "code_hidden", "width", "layers", "headdim", "text_features"):
            whole_number(f"IGPGConfig.{name}", getattr(self, name), 1, MOST_SIZE)
        whole_number("IGPGConfig.codebook", self.codebook, 2, MOST_CODEBOOK)
        whole_number("IGPGConfig.context", self.context, 1, MOST_SIZE)
        choice("quantiser", self.quantiser, QUANTISERS)
        if not self.text:
            raise InputError("IGPGConfig.text is empty; leave it at 'ngrams' or name a sentence-transformers model")
        if self.width % self.headdim:
            raise InputError(f"headdim {self.headdim} does not divide the width {self.width}; choose one that does")

    def to_dict(self) -> dict:
        """Return the fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict) -> "IGPGConfig":
        """Return the configuration with these fields; raises `InputError` when one is missing or unknown."""
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"not the configuration of an IGPG generator ({error}): {shown(fields)}") from None


@dataclass(frozen=True)
class CodesTraining:
    """How the VQ-VAE is trained, with AdamW.

    batch_size: chunks per step; commitment: weight of the loss that draws encodings to their entries (beta; that of the
    entries to their encodings, gamma, is 1); uniform: weight of the divergence of the mean use of entries from a
    uniform one ("gumbel" only); revive: every so many steps entries that went unused since become encodings at hand.
    """

    steps: int = 5000
    batch_size: int = 512
    learning_rate: float = 1e-3
    commitment: float = 0.25
    uniform: float = 5e-4
    revive: int = 100
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        _check(self, "commitment", "uniform")
        whole_number("CodesTraining.revive", self.revive, 1)


@dataclass(frozen=True)
class PriorTraining:
    """How the prior is trained, with AdamW: warm-up, then half a cosine.

    batch_size: networks of each architecture per step, all of whose chunks count alike; forget: how often a network's
    identity is kept from the prior, and how often its instruction does not say it; corrupt: the share of chunks that
    are read as random codes, so that the prior does not lean on what it will write with errors itself.
    """

    steps: int = 4000
    batch_size: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    forget: float = 0.1
    corrupt: float = 0.5
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        _check(self, "weight_decay")
        for name in ("forget", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"PriorTraining.{name} is a share from 0 to 1, not {getattr(self, name)}")


def _check(config, *not_negative: str) -> None:
    name = type(config).__name__
    for field in ("steps", "batch_size"):
        whole_number(f"{name}.{field}", getattr(config, field), 1)
    whole_number(f"{name}.seed", config.seed, 0)
    if config.learning_rate <= 0:
        raise InputError(f"{name}.learning_rate must be above 0, or nothing would learn")
    for field in not_negative:
        if getattr(config, field) < 0:
            raise InputError(f"{name}.{field} must not be negative, not {getattr(config, field)}")
