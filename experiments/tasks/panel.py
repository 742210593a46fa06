"""The panel of `18_explore`: choose a task by hand or in words, press, and see a network that was written for it."""

import html
import time
from contextlib import suppress

import ipywidgets as widgets

from experiments.pipeline import images_of
from experiments.tasks.explore import evaluate
from experiments.tasks.explore_figure import png
from experiments.tasks.unseen import Unseen
from rpglib.errors import InputError
from rpglib.prompts.task import task_from_prompt


class Panel(widgets.VBox):
    """A toggle per class, a sentence, a button, and the picture of the network that the last press wrote.

    A sentence sets the toggles while it is typed, Enter presses the button, and changing a toggle clears the sentence.
    Every press writes another network, the first one with `seed`; `seconds` is how long the last one took. Bad input
    ends in one line. Raises `InputError` for a bad first `prompt`.
    """

    def __init__(self, source: Unseen, prompt: str, seed: int = 0):
        self.source, self.seed, self.seconds = source, seed, None
        names = images_of(source.recipe.images).class_names
        narrow = widgets.Layout(width="auto", min_width="40px")
        self.toggles = [widgets.ToggleButton(description=name, layout=narrow) for name in names]
        self.sentence = widgets.Text(prompt, placeholder="or in words", layout={"width": "320px"})
        self.button = widgets.Button(description="Write a network", button_style="primary")
        self.message = widgets.HTML()
        # In its own size: a column would stretch it.
        shown = widgets.Layout(max_width="100%", align_self="flex-start", visibility="hidden")
        self.picture = widgets.Image(format="png", layout=shown)
        for toggle in self.toggles:
            toggle.observe(self._toggled, "value")
        self._set_toggles(self._task())
        self.sentence.observe(self._typed, "value")
        self.sentence.on_msg(self._entered)
        self.button.on_click(self.press)
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        super().__init__(
            [
                widgets.HBox([widgets.Label("Select"), *self.toggles], layout=row),
                widgets.HBox([self.sentence, self.button], layout=row),
                self.message,
                self.picture,
            ]
        )

    def __repr__(self) -> str:
        # What a notebook keeps of the panel, and shows where no kernel is running.
        return "a panel of buttons: run this cell in JupyterLab to use it"

    def press(self, _=None) -> None:
        """Write a network for the chosen task and show it, or say what is wrong with the choice."""
        self.button.disabled = True
        began = time.perf_counter()
        try:
            found = evaluate(self.source, self._task(), self.seed)
            self.picture.value = png(found)
        except InputError as error:
            self.message.value = f"⚠ Nothing written: {html.escape(str(error))}"
        else:
            self.picture.layout.visibility = "visible"
            self.seed += 1
            self.seconds = time.perf_counter() - began
            self.message.value = f"Written, tested on {len(found.right):,} images and drawn in {self.seconds:.1f} s."
        finally:
            self.button.disabled = False

    def _task(self) -> list[int]:
        """The task of the sentence where there is one, otherwise that of the toggles, which may be all 0 or all 1."""
        if self.sentence.value.strip():
            return task_from_prompt(self.sentence.value, self.source.recipe.images)
        return [int(toggle.value) for toggle in self.toggles]

    def _set_toggles(self, task: list[int]) -> None:
        for toggle, bit in zip(self.toggles, task, strict=True):
            # Only a person's change of a toggle clears the sentence.
            toggle.unobserve(self._toggled, "value")
            toggle.value = bool(bit)
            toggle.observe(self._toggled, "value")

    def _toggled(self, _) -> None:
        self.sentence.value = ""

    def _typed(self, _) -> None:
        # Half a sentence is no mistake yet; pressing tells.
        with suppress(InputError):
            self._set_toggles(self._task())

    def _entered(self, _, content: dict, buffers) -> None:
        if content.get("event") == "submit":
            self.press()
