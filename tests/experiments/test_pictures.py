"""Pictures in few colours: fewer bytes, and nothing that an eye would miss."""

import base64
import io

import nbformat
import numpy as np
from PIL import Image

from experiments.pictures import compact
from experiments.run import normalise


def png(pixels: np.ndarray) -> str:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format="png")
        return base64.b64encode(file.getvalue()).decode()


def pixels(picture: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def shades() -> str:
    """A picture with an alpha channel and thousands of colours, grained as antialiased marks are."""
    ramp, grain = np.linspace(0, 255, 128), np.random.default_rng(0).integers(-8, 9, (128, 128))
    red, green = (np.clip(part + grain, 0, 255).astype(np.uint8) for part in np.meshgrid(ramp, ramp))
    return png(np.stack((red, green, np.full_like(red, 128), np.full_like(red, 255)), -1))


def test_a_picture_takes_fewer_bytes_and_looks_the_same_and_a_second_pass_changes_nothing():
    before = shades()
    after = compact(before)
    assert len(after) < len(before)
    assert np.abs(pixels(after) - pixels(before)).mean() < 10
    assert compact(after) == after


def test_what_would_grow_stays_as_it_is():
    tiny = png(np.zeros((1, 1, 3), np.uint8))
    assert compact(tiny) == tiny


def test_an_executed_notebook_keeps_its_pictures_in_few_colours(tmp_path):
    data = {"image/png": shades(), "text/plain": "<Figure>"}
    output = nbformat.v4.new_output("display_data", data=dict(data))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    kept = normalise(notebook, tmp_path).cells[0].outputs[0].data
    assert kept["image/png"] == compact(data["image/png"]) and kept["text/plain"] == "<Figure>"
