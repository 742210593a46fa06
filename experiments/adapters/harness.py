"""Adapters in lm-eval's harness: any causal model, tasks by name, and questions of ours as a task."""

import io
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from experiments.adapters.questions import Question
from experiments.extras import ADAPTERS
from rpglib.errors import InputError, shown
from rpglib.runtime.files import read_json, write_json

COMMONSENSE = ("boolq", "piqa", "social_iqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")
"""The paper's table 3 (v1), and winogrande, which DoRA's recipe has as well."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def evaluate(model, tokenizer, tasks: Sequence[str], folder: Path | None = None, batch: int = 64) -> dict[str, float]:
    """Accuracy (percent) of a causal model on tasks of lm-eval, without examples in the prompt.

    folder: where tasks of ours lie. Data sets are taken from what is on this machine; raises `InputError` where one is
    absent, and for an unknown task.
    """
    with _quiet():
        lm_eval = ADAPTERS.package("lm_eval")
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        ADAPTERS.package("datasets").disable_progress_bars()
        # Reading the descriptions of all its own tasks takes it many seconds.
        manager = TaskManager(include_path=folder and str(folder), include_defaults=folder is None)
        if unknown := [name for name in tasks if name not in manager.all_tasks]:
            raise InputError(f"lm-eval has no task {shown(unknown[0])}; see lm_eval --tasks list")
        # As these tokenizers are meant to be used: each text begins with the mark of a beginning.
        asked = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, add_bos_token=True)
        found = {}
        for name in tasks:
            try:
                result = lm_eval.simple_evaluate(asked, tasks=[name], task_manager=manager, bootstrap_iters=0)
            except (OSError, ValueError, RuntimeError) as error:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise InputError(
                    f"the data of task {name} are not at hand ({reason[:200]}); put them into Hugging Face's cache"
                ) from None
            found[name] = 100 * float(result["results"][name]["acc,none"])
        return found


def write_task(folder: Path, name: str, questions: Sequence[Question]) -> None:
    """Write questions as a task of lm-eval, which `evaluate` finds in the folder."""
    lines = [{"prompt": q.prompt, "choices": list(q.choices), "answer": q.answer} for q in questions]
    write_json(folder / f"{name}.json", {"questions": lines})
    said = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / f"{name}.json")},
            "field": "questions",
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}],
    }
    # JSON is YAML.
    write_json(folder / f"{name}.yaml", said)


def instructions(path: str | Path) -> list[Question]:
    """What an adapter of a large model learns: a JSON list of {"instruction", "output"}, as commonsense_170k.json is.

    Raises `InputError` where the file is absent, or another thing.
    """
    if not Path(path).is_file():
        raise InputError(f"no instructions in {path}; put commonsense_170k.json of DoRA's recipe there")
    said = read_json(path)
    wanted = ("instruction", "output")
    if (
        not isinstance(said, list)
        or not said
        or not all(isinstance(x, dict) and all(isinstance(x.get(key), str) for key in wanted) for x in said)
    ):
        raise InputError(f"{path} is no list of instructions with outputs; give those of DoRA's recipe")
    return [Question(x["instruction"], (x["output"],), 0) for x in said]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without network and without lm-eval's lines and bars; what was set before is set again."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    level = logging.root.manager.disable
    os.environ |= OFFLINE
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
