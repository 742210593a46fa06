"""The paper's own way (v1, table 3): adapters of any causal model in a local folder, evaluated by lm-eval's tasks.

Not run where model and data are absent; profile smoke goes this way with a tiny random model and a task of two lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.adapters import base, files, harness
from experiments.adapters.adapters import AdapterConfig, adapted, fresh, put, train_adapter
from experiments.adapters.facts import facts
from experiments.adapters.questions import Question, questions
from experiments.adapters.settings import SMOKE
from experiments.large import Generator
from experiments.profiles import PAPER_TRAIN_LARGE, SMALL_TRAIN
from rpglib.analysis.accuracy import summarise
from rpglib.errors import InputError
from rpglib.model.config import RPGConfig
from rpglib.runtime.files import write_json
from rpglib.runtime.hardware import pick
from rpglib.training.loop import TrainConfig


@dataclass(frozen=True)
class Large:
    """A base model's folder, what its adapters learn, lm-eval's tasks (own: where those of ours lie), and generators.

    generators: by the adapters' rank.
    """

    model: Path
    instructions: Path
    tasks: tuple[str, ...]
    adapter: AdapterConfig
    generators: dict[int, Generator]
    own: Path | None = None
    networks: int = 10
    device: str = "auto"

    def compute(self, folder: Path) -> dict:
        """Accuracy (percent) by rank and task: of the base model, of the last original, of ten generated adapters.

        Raises `InputError` where model, instructions or a task's data are absent.
        """
        taught = harness.instructions(self.instructions)
        found = {"base model": self._evaluated(*self._loaded())}
        return found | {f"rank {rank}": self._rank(rank, taught, folder / f"rank_{rank}") for rank in self.generators}

    def _loaded(self) -> tuple:
        model, tokenizer = base.load(self.model)
        return model.to(pick(self.device)), tokenizer

    def _evaluated(self, model, tokenizer) -> dict[str, float]:
        return harness.evaluate(model, tokenizer, self.tasks, self.own)

    def _rank(self, rank: int, taught: Sequence[Question], folder: Path) -> dict:
        config = replace(self.adapter, rank=rank, alpha=2 * rank)
        plain, tokenizer = self._loaded()
        model = adapted(plain, config)
        kept, _ = train_adapter(model, tokenizer, taught, config, fresh(model, config))
        places = [folder / "zoo" / f"{k:02d}" for k in range(len(kept))]
        files.write(model, kept, places)
        zoo = files.read_zoo(places, [0] * len(places))
        generated = self.generators[rank].written(zoo, self.networks, folder, self.device)
        found = {}
        for name, group in (("original", kept[-1:]), ("generated", generated)):
            rows = []
            for adapter in group:
                put(model, adapter)
                rows.append(self._evaluated(model, tokenizer))
            found[name] = {task: summarise([row[task] for row in rows]) for task in self.tasks}
        return found


def paper(root: Path) -> Large:
    """The paper's rows: LLaMA-7B in `root`/llama-7b and DoRA's instructions beside it, ranks 4 and 64.

    Raises `InputError` where they are absent.
    """
    if not (root / "llama-7b" / "config.json").is_file():
        raise InputError(f"no base model in {root / 'llama-7b'}; put LLaMA-7B there, or set RPG_DATA")
    adapter = AdapterConfig(epochs=3, batch=16, learning_rate=2e-4, last_rate=2e-5, checkpoints=50, dropout=0.05)
    fixed = {"permutation_states": adapter.checkpoints, "permutation": "fixed"}
    generators = {
        4: Generator(replace(RPGConfig.preset("base"), **fixed), TrainConfig.paper(), "ddpm", 1000),
        64: Generator(replace(RPGConfig.preset("large"), **fixed), PAPER_TRAIN_LARGE),
    }
    return Large(root / "llama-7b", root / "commonsense_170k.json", harness.COMMONSENSE, adapter, generators)


def stand_in(folder: Path) -> Large:
    """The same way with a tiny random model, a few instructions and a task of two lines, all written into `folder`."""
    known = facts()
    model, tokenizer, _ = base.train_base(known, replace(SMOKE.base, steps=1))
    for part in (model, tokenizer):
        part.save_pretrained(folder / "model")
    lines = questions(known, "two choices", "test", 2)
    harness.write_task(folder / "tasks", "two_lines", lines)
    taught = [
        {"instruction": q.prompt, "output": q.choices[q.answer]} for q in questions(known, "two choices", "train", 8)
    ]
    write_json(folder / "instructions.json", taught)
    brief = replace(SMALL_TRAIN, steps=2, diffusion_batch=16)
    small = Generator(replace(SMOKE.model, permutation_states=2), brief, steps=2)
    return Large(
        folder / "model",
        folder / "instructions.json",
        ("two_lines",),
        AdapterConfig(epochs=1, batch=4, checkpoints=2),
        {4: small, 64: small},
        own=folder / "tasks",
        networks=2,
        device="cpu",
    )
