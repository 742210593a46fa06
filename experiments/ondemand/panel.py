"""The sliders of `18_explore`: turn images, blur them, add noise, and see whether a network written for that copes."""

import base64
import io
import time
from collections.abc import Mapping

import ipywidgets as widgets
from PIL import Image
from torch import Tensor

from experiments.ondemand.setting import OnDemand, Setting
from experiments.report.figures import BLUE, GREY, RED

COLUMNS, LINES = 10, 2
SIDE = 52
"""Pixels of a page along an image's side."""
STEPS = {"angle": 5.0, "blur": 0.05, "noise": 0.05}
TITLES = {"angle": "turned by (°)", "blur": "blurred by (pixels)", "noise": "noise"}
NETWORKS = (("One network for all settings", GREY), ("Written for this setting", BLUE))
MARKS = {
    True: ("✓", "color: #505050"),
    False: ("✗", f"color: {RED}; font-weight: bold; background: #fbeadd"),
}
"""Sign and style of a right and of a wrong answer."""


class CircumstancesPanel(widgets.VBox):
    """A slider for each condition; every change writes a network for the new setting and shows what it answers.

    Sliders end where the trained ranges do, and a setting that was held out is said to be. `found` is what the last
    change gave, `seconds` how long it took. Raises `InputError` for a first setting outside of the ranges.
    """

    def __init__(self, source: OnDemand, setting: Mapping[str, float]):
        self.source, self.found, self.seconds = source, None, None
        self.message, self.picture = widgets.HTML(), widgets.HTML()
        self._show(setting)
        self.sliders = {
            condition.name: widgets.FloatSlider(
                value=setting[condition.name],
                min=condition.low,
                max=condition.high,
                step=STEPS[condition.name],
                description=TITLES[condition.name],
                readout_format="d" if STEPS[condition.name] >= 1 else ".2f",
                style={"description_width": "130px"},
                layout={"width": "560px"},
            )
            for condition in source.model.config.conditions
        }
        for slider in self.sliders.values():
            slider.observe(self._moved, "value")
        super().__init__([*self.sliders.values(), self.message, self.picture])

    def __repr__(self) -> str:
        # What a notebook keeps of the panel, and shows where no kernel is running.
        return "a panel of sliders: run this cell in JupyterLab to use it"

    def _moved(self, _) -> None:
        self._show({name: slider.value for name, slider in self.sliders.items()})

    def _show(self, setting: Mapping[str, float]) -> None:
        began = time.perf_counter()
        self.found = self.source.at(setting)
        self.picture.value = drawn(self.found)
        self.seconds = time.perf_counter() - began
        numbers = sum(x.numel() for x in self.found.network.values() if x.is_floating_point())
        self.message.value = (
            f"{numbers:,} weights written in {_short(self.found.seconds)}; with the test of both networks on "
            f"{len(self.found.labels):,} images and the drawing {_short(self.seconds)}.<br>"
            f"This setting is {self.found.status}."
        )


def _short(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms"


def drawn(found: Setting) -> str:
    """HTML: both accuracies as bars, and under the first test images what each network says, wrong answers marked."""
    bars = "".join(
        f'<div style="text-align: right">{name}</div>'
        f'<div style="background: #eeeeee"><div style="background: {colour}; width: {accuracy:.1f}%; height: 16px">'
        f'</div></div><div style="font-weight: bold">{accuracy:.1f} %</div>'
        for (name, colour), accuracy in zip(NETWORKS, found.accuracies, strict=True)
    )
    return (
        '<div style="width: 780px; padding: 10px; color: black; background: white; line-height: 20px">'
        f'<div style="display: grid; grid-template-columns: 190px 1fr 70px; gap: 6px 12px; align-items: center">{bars}'
        f'</div><div style="margin: 6px 0 12px 202px; color: #505050">of {len(found.labels):,} test images right; '
        f"the first {COLUMNS * LINES} as they are taken:</div>{_images(found)}</div>"
    )


def _images(found: Setting) -> str:
    cells = []
    for first in range(0, COLUMNS * LINES, COLUMNS):
        chosen = slice(first, first + COLUMNS)
        cells += ["<div></div>", *(_image(image, found.lowest, found.highest) for image in found.images[chosen, 0])]
        for (name, _), answers, right in zip(NETWORKS, found.answers[:, chosen], found.right[:, chosen], strict=True):
            cells.append(f'<div style="text-align: right; padding-right: 12px">{name}</div>')
            for answer, good in zip(answers.tolist(), right.tolist(), strict=True):
                mark, style = MARKS[good]
                cells.append(f'<div style="text-align: center; {style}">{mark} {answer}</div>')
        cells.append(f'<div style="grid-column: 1 / span {COLUMNS + 1}; height: 8px"></div>')
    columns = f"202px repeat({COLUMNS}, {SIDE}px)"
    return f'<div style="display: grid; grid-template-columns: {columns}; gap: 2px 4px">{"".join(cells)}</div>'


def _image(image: Tensor, lowest: float, highest: float) -> str:
    """An image (S, S) in the page itself; ink is dark, and noise is cut at the values that pixels have without it."""
    pixels = 255 * (1 - (image.clamp(lowest, highest) - lowest) / (highest - lowest))
    buffer = io.BytesIO()
    Image.fromarray(pixels.round().byte().numpy()).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    style = f"width: {SIDE}px; height: {SIDE}px; image-rendering: pixelated"
    return f'<img alt="" style="{style}" src="data:image/png;base64,{data}">'
