"""Words to a task: which of ten classes a prompt asks for, one bit per class (paper v2, section C.2, table 22).

The paper asks Qwen2.5-3B, the back end "local" its chat version. The default needs no model, and refuses what it cannot
read.
"""

from collections.abc import Callable

from rpglib.errors import InputError, choice, shown
from rpglib.prompts.grammar import ask_table
from rpglib.prompts.language_models import ask_endpoint, ask_local
from rpglib.tasks import CLASS_NAMES, check_task

Backend = Callable[[str, tuple[str, ...]], list[int]]
BACKENDS = {"table": ask_table, "endpoint": ask_endpoint, "local": ask_local}


def task_from_prompt(prompt: str, images: str = "digits", backend: str | Backend = "table") -> list[int]:
    """Return the task that the prompt asks for: ten bits, 1 for each class of the data set `images` to be selected.

    `backend` is "table" (a grammar over a table of attributes, no model and no network), "endpoint", "local", or a
    callable that takes the prompt and the class names, such as `partial(ask_local, model="my/model")`.
    Raises `InputError` for an unknown data set or back end, an empty prompt, one that selects none or all of the
    classes, and whatever the back end cannot answer.
    """
    class_names = CLASS_NAMES[choice("data set", images, CLASS_NAMES)]
    ask = BACKENDS[choice("back end", backend, BACKENDS)] if isinstance(backend, str) else backend
    if not callable(ask):
        raise InputError(f"a back end is one of {', '.join(BACKENDS)}, or a callable, not {shown(backend)}")
    if not isinstance(prompt, str):
        raise InputError(f"a prompt is text, not {shown(prompt)}; say what to select, such as 'even digits'")
    if not prompt.strip():
        raise InputError("the prompt is empty; say what to select, such as 'even digits'")
    bits = ask(prompt, class_names)
    try:
        return check_task(bits, len(class_names)).tolist()
    except InputError as error:
        raise InputError(f"prompt {prompt!r}: {error}") from None
