"""Picture files: those of data sets, read with an error that names them, and our own, in a third of the bytes.

Small ones let records, notebooks and figures stand side by side.
"""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

from rpglib.errors import InputError, shown

AREAS = 64
"""Colours of a picture with few that are kept as they are."""


def opened(path: Path, mode: str | None = None) -> Image.Image:
    """A picture, read whole, as it is or in a mode of Pillow's; `InputError` with its name where it is damaged."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy() if mode is None else image.convert(mode)
    except Exception as error:  # Pillow tells of damage in many unrelated types
        raise InputError(f"{path} is damaged ({shown(str(error))}); unpack it again") from None


def few_colours(image: Image.Image) -> Image.Image:
    """The image with 256 colours: the areas' own, the most frequent, and those between which all others lie.

    Pillow's ways of choosing give a pale area another one's hue, or what is rare a colour far from its own.
    """
    image = image.convert("RGB")
    pixels = np.asarray(image).reshape(-1, 3)
    colours, place, count = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    areas = colours[np.sort(np.argsort(-count, kind="stable")[:AREAS])]
    others = image.quantize(256 - AREAS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).getpalette()
    palette = np.concatenate([areas, np.reshape(others, (-1, 3))[: 256 - AREAS]]).astype(np.uint8)
    nearest = KDTree(palette).query(colours)[1].astype(np.uint8)
    found = Image.fromarray(nearest[place.ravel()].reshape(image.height, image.width))
    found.putpalette(palette.tobytes())
    return found


def compact(png: str) -> str:
    """A PNG (base64, as notebooks keep it) in 256 colours; as it is where it has a palette or that takes no less."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image, io.BytesIO() as pixels:
        if image.mode == "P":
            return png
        few_colours(image).save(pixels, format="png", optimize=True)
        return min(png, base64.b64encode(pixels.getvalue()).decode(), key=len)
