"""Picture files: those of data sets, read with an error that names them, and our own, in a third of the bytes.

Small ones let records, notebooks and figures stand side by side.
"""

import base64
import io
from pathlib import Path

from PIL import Image

from rpglib.errors import InputError, shown


def opened(path: Path, mode: str | None = None) -> Image.Image:
    """A picture, read whole, as it is or in a mode of Pillow's; `InputError` with its name where it is damaged."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy() if mode is None else image.convert(mode)
    except Exception as error:  # Pillow tells of damage in many unrelated types
        raise InputError(f"{path} is damaged ({shown(str(error))}); unpack it again") from None


def few_colours(image: Image.Image) -> Image.Image:
    """The image with the 256 colours that suit it."""
    return image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def compact(png: str) -> str:
    """A PNG (base64, as notebooks keep it) in 256 colours; as it is where it has a palette or that takes no less."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image, io.BytesIO() as pixels:
        if image.mode == "P":
            return png
        few_colours(image).save(pixels, format="png", optimize=True)
        return min(png, base64.b64encode(pixels.getvalue()).decode(), key=len)
