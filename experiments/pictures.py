"""Pictures for screens: a third of the bytes, so that records, notebooks and figures can stand side by side."""

import base64
import io

from PIL import Image


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
