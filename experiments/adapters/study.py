"""From the base model, families and combinations to the record of `26_adapters`."""

import time
from dataclasses import dataclass

from safetensors.torch import load_file
from torch import Tensor

from experiments.adapters.jobs import Combinations, Family, Trained
from experiments.adapters.large import paper, stand_in
from experiments.adapters.questions import FAMILIES
from experiments.adapters.settings import Setting
from experiments.baselines import side_by_side
from experiments.large import tried
from experiments.records import generator_dir, read_record, storing, working_dir, write_record
from experiments.sweeps.cells import folder_of, run
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.runtime.files import save_tensors, sha256
from rpglib.runtime.state_dicts import flatten
from rpglib.zoo.images import data_root

EXPERIMENT = "adapters"
NETWORKS_FILE, KEPT = "networks.safetensors", 2
"""Where generated adapters are kept, and how many."""


@dataclass(frozen=True)
class Study:
    """The experiment of one profile; of what is written, the first adapters of the first family are kept."""

    setting: Setting
    profile: str
    seed: int = 0

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "base", "families" {family: ...}, "combinations". Raises `InputError` where packages of the extra are
        absent, and where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(EXPERIMENT, self.profile, self.setting, {"all": self.seed})

    def _families(self) -> dict[str, Family]:
        return {name: Family(self.setting, self.profile, self.seed, family=name) for name in FAMILIES}

    def _run(self) -> dict:
        began, families = time.perf_counter(), self._families()
        (base,) = run([Trained(self.setting, self.profile, self.seed)], "base model")
        # The longest first.
        combined, *found = run([Combinations(self.setting, self.profile, self.seed), *families.values()], EXPERIMENT)
        with storing(self.profile, EXPERIMENT):
            kept = generator_dir(self.profile, EXPERIMENT) / NETWORKS_FILE
            save_tensors(kept, self._first_adapters())
            return write_record(
                EXPERIMENT,
                self.profile,
                {"base": base, "families": dict(zip(families, found, strict=True)), "combinations": combined},
                config=self.setting,
                seeds={"all": self.seed},
                n=len(families),
                wall_seconds=time.perf_counter() - began,
                data_source=base["source"],
                generator=sha256(kept),
            )

    def _first_adapters(self) -> dict[str, Tensor]:
        """The first adapters that the first family's generator writes, side by side; itself it is too large to keep."""
        first = next(iter(self._families().values()))
        model = RPG.from_pretrained(folder_of(first) / "generator")
        states = first.states(model.config.permutation_states)[:KEPT]
        made = model.generate(KEPT, steps=self.setting.sampling_steps, seed=self.seed, permutation=states)
        return side_by_side(made)

    def check_live(self, record: dict, tolerance: float = 1e-3) -> str:
        """Read the kept adapters, and compare their norms with those of the record, which were evaluated.

        Returns one sentence; raises `AssertionError` where the record does not hold, and `InputError` where the
        adapters are another run's, or absent.
        """
        kept = generator_dir(self.profile, EXPERIMENT) / NETWORKS_FILE
        if not kept.exists() or sha256(kept) != record["generator"]:
            raise InputError(f"{kept} is not the record's; restore it, or run with fresh=True")
        norms = flatten(load_file(kept)).norm(dim=1).tolist()
        recorded = next(iter(record["numbers"]["families"].values()))["norms"]
        for found, known in zip(norms, recorded, strict=False):
            assert abs(found / known - 1) <= tolerance, f"an adapter's norm is {found:.3f}, not {known:.3f}"
        return f"{len(norms)} generated adapters read again; they agree with the record"

    def large(self, fresh: bool) -> dict | str:
        """What the paper's own way finds, in profiles smoke (stand-ins) and paper; elsewhere why it is not gone."""
        elsewhere = "large models: profile paper evaluates adapters of a model in a local folder by lm-eval's tasks"

        def compute() -> dict:
            folder = working_dir(self.profile, EXPERIMENT)
            return (paper(data_root()) if self.profile == "paper" else stand_in(folder)).compute(folder)

        return tried(self.profile, fresh, elsewhere, compute)
