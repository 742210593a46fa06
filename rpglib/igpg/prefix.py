"""What a network is asked for by: an instruction in words and a data set in images, as features of fixed length.

The paper embeds words by LLaMA-3 and images by CLIP. Here words are embedded by hashed words and pairs of words, which
need no download, or by a sentence-transformers model whose weights are at hand; images by a convolution with fixed
random filters.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from rpglib.errors import InputError, shown
from rpglib.runtime.arguments import each, of, takes, whole
from rpglib.zoo.images import Images, Split, Stream, take

FILTERS, SIDE, GRID = 32, 5, 2
"""Of the fixed encoder of images: how many filters of which size, and into how many cells along a side means go."""
PER_CLASS = 5
"""Images of each class that a data set is told by, as in the paper."""
LOOKED_THROUGH = 2000
"""Training images among which those are looked for."""

WORDINGS = (
    "write a {architecture} for {images}",
    "I need a {architecture} that classifies {images}",
    "{architecture}, trained on {images}",
    "a network of the architecture {architecture} that tells the classes of {images} apart",
)
"""Instructions that a generator learns from; `OF_RUN` may follow."""
UNSEEN_WORDING = "please generate weights of {architecture} that work well on {images}"
"""One that it does not learn from."""
OF_RUN = ", like training run {run}"


@takes(architecture=of(str), images=of(str), run=whole(0), which=whole(0, len(WORDINGS)))
def instruction(architecture: str, images: str, run: int | None = None, which: int = 0) -> str:
    """A sentence that asks for a network, like those of a training run where that is given.

    which: its wording, one of `WORDINGS` or, the last one, `UNSEEN_WORDING`.
    """
    wording = (*WORDINGS, UNSEEN_WORDING)[which].format(architecture=architecture, images=images)
    return wording + (OF_RUN.format(run=run) if run is not None else "")


def text_features(sentences: Sequence[str], text: str, size: int) -> Tensor:
    """Embeddings (n, size) of length 1: of "ngrams", or of the sentence-transformers model `text`.

    Raises `InputError` for what is no text, and for a model that is not at hand or has embeddings of another length.
    """
    sentences = list(each("instructions", sentences, "sentences"))
    for sentence in sentences:
        if not isinstance(sentence, str) or not re.search(r"\w", sentence) or not _encodable(sentence):
            raise InputError(f"an instruction is a sentence such as {instruction('cnn_digits', 'digits')!r}, not "
                             f"{shown(sentence)}")  # fmt: skip
    if text != "ngrams":
        return _of_model(sentences, text, size)
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(
        n_features=size, ngram_range=(1, 2), token_pattern=r"(?u)\w+", alternate_sign=True, norm="l2"
    )
    return torch.from_numpy(hashed.transform(sentences).toarray()).float()


def _encodable(sentence: str) -> bool:
    try:
        sentence.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_model(sentences: list[str], text: str, size: int) -> Tensor:
    """The mean of a model's last states over each sentence's words, as sentence-transformers' models are read."""
    tokenizer, network = _load(text)
    given = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = network(**given).last_hidden_state
    real = given["attention_mask"][..., None]
    found = F.normalize(((states * real).sum(1) / real.sum(1)).float())
    if found.shape[1] != size:
        raise InputError(f"{text} embeds sentences in {found.shape[1]} numbers; set text_features to that, not {size}")
    return found


@lru_cache(maxsize=1)
def _load(text: str):
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise InputError(f"{text} needs transformers; pip install transformers, or leave text at 'ngrams'") from None
    try:
        return AutoTokenizer.from_pretrained(text), AutoModel.from_pretrained(text).eval()
    except (ImportError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"cannot load the text encoder {text!r} ({reason}); run `hf download {text}`, name a folder that holds it, "
            "or leave text at 'ngrams'"
        ) from None


@takes(images=of(Images))
def image_features(images: Images) -> Tensor:
    """What a data set is told by: (F,), from `PER_CLASS` training images of each class under a fixed encoder.

    The encoder: `FILTERS` random filters over grey values, without their negative half, averaged over a grid of cells;
    then the mean over all images and the deviation between the classes' means. Any number of classes and channels.
    Raises `InputError` where there are no images, or some that are not finite.
    """
    part = _few(images.train, images.num_classes)
    if not len(part) or not bool(part.images.isfinite().all()):
        raise InputError("there are no training images, or they hold NaN or infinity; leave those images out")
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(FILTERS, 1, SIDE, SIDE, generator=generator) / SIDE
    answers = F.conv2d(part.images.float().mean(1, keepdim=True), filters, padding=SIDE // 2).relu()
    cells = F.adaptive_avg_pool2d(answers, GRID).flatten(1)
    classes = torch.stack([cells[part.labels == k].mean(0) for k in part.labels.unique().tolist()])
    return torch.cat((classes.mean(0), classes.std(0, correction=0)))


def _few(part: Split | Stream, classes: int) -> Split:
    found = take(part, LOOKED_THROUGH)
    rows = torch.cat([(found.labels == k).nonzero()[:PER_CLASS, 0] for k in range(classes)])
    return Split(found.images[rows], found.labels[rows])


IMAGE_FEATURES = 2 * FILTERS * GRID**2
"""Length of `image_features`."""
