"""From the base model, families and combinations to the record of `26_adapters`."""

import time
from dataclasses import dataclass

from experiments.adapters import tables
from experiments.adapters.jobs import Combinations, Family, Trained
from experiments.adapters.large import paper, stand_in
from experiments.adapters.questions import FAMILIES
from experiments.adapters.settings import Setting
from experiments.baselines import points
from experiments.records import agrees, generator_dir, read_record, storing, working_dir, write_record
from experiments.report import pages
from experiments.sweeps.cells import folder_of, run
from rpglib.errors import InputError
from rpglib.model.rpg import RPG
from rpglib.zoo.images import data_root

EXPERIMENT = "adapters"


@dataclass(frozen=True)
class Study:
    """The experiment of one profile; the first family's generator is kept."""

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
        record = read_record(EXPERIMENT, self.profile)
        if not agrees(record["config"], self.setting) or record["seeds"] != {"all": self.seed}:
            raise InputError(f"the record of {EXPERIMENT} was made with other settings; run with fresh=True")
        return record

    def _families(self) -> dict[str, Family]:
        return {name: Family(self.setting, self.profile, self.seed, family=name) for name in FAMILIES}

    def _run(self) -> dict:
        began, families = time.perf_counter(), self._families()
        (base,) = run([Trained(self.setting, self.profile, self.seed)], "base model")
        # The longest first.
        combined, *found = run([Combinations(self.setting, self.profile, self.seed), *families.values()], EXPERIMENT)
        with storing(self.profile, EXPERIMENT):
            model = RPG.from_pretrained(folder_of(next(iter(families.values()))) / "generator")
            numbers = {"base": base, "families": dict(zip(families, found, strict=True)), "combinations": combined}
            return write_record(
                EXPERIMENT,
                self.profile,
                numbers,
                config=self.setting,
                seeds={"all": self.seed},
                n=len(families),
                wall_seconds=time.perf_counter() - began,
                data_source=base["source"],
                generator=model.save_pretrained(generator_dir(self.profile, EXPERIMENT), card=card(model, numbers)),
            )

    def check_live(self, record: dict, n: int = 2, tolerance: float = 0.02) -> str:
        """Write the first adapters of the kept generator again, and compare their norms with the record.

        Returns one sentence; raises `AssertionError` where the record does not hold, and `InputError` where the kept
        generator is another run's.
        """
        model, _, digest = RPG.read(generator_dir(self.profile, EXPERIMENT))
        if digest != record["generator"]:
            raise InputError(f"record and generator of {EXPERIMENT} are of two runs; run with fresh=True")
        first, norms = (
            next(iter(self._families().values())),
            next(iter(record["numbers"]["families"].values()))["norms"],
        )
        states = first.states(model.config.permutation_states)[:n]
        networks = model.generate(n, steps=self.setting.sampling_steps, seed=self.seed, permutation=states)
        for found, recorded in zip(points(networks).norm(dim=1).tolist(), norms, strict=False):
            assert abs(found / recorded - 1) <= tolerance, f"an adapter's norm is {found:.3f}, not {recorded:.3f}"
        return f"{n} adapters written again; they agree with the record"

    def large(self, fresh: bool) -> dict | str:
        """What the paper's own way finds, in profiles smoke (stand-ins) and paper; elsewhere why it is not gone."""
        folder = working_dir(self.profile, EXPERIMENT)
        if not fresh or self.profile not in ("smoke", "paper"):
            return "large models: profile paper evaluates adapters of a model in a local folder by lm-eval's tasks"
        try:
            return (paper(data_root()) if self.profile == "paper" else stand_in(folder)).compute(folder)
        except InputError as error:
            if self.profile == "smoke":
                raise
            return f"not measured: {error}"


def card(model: RPG, numbers: dict) -> str:
    """The model card of the first family's generator, with its row of the notebook's table."""
    family = next(iter(numbers["families"]))
    row = tables.table_3(numbers).loc[[family]]
    measured = pages.table(("questions", *row.columns), [(name, *cells) for name, cells in row.iterrows()])
    said = f"Learned from DoRA adapters of a small language model, which answer questions ({family}); see 26_adapters."
    return model.card(EXPERIMENT, said, f"{measured}\n\nTest accuracy in percent; generated: best, mean, min and std.")
