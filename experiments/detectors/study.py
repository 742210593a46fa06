"""From the shared start, the zoo and the generator to the record of `28_detectors`."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.detectors import voc
from experiments.detectors.jobs import Begun, Collected, Job, Tuned, Written
from experiments.detectors.settings import GENERATED, SCRATCH, SHARED, SMOKE, Setting
from experiments.records import read_record, storing, working_dir, write_record
from experiments.sweeps.cells import run

EXPERIMENT = "unseen_detectors"
STARTS = (GENERATED, SHARED, SCRATCH)


@dataclass(frozen=True)
class Study:
    """The experiment of one profile; root: where data sets lie, by default where RPG_DATA says.

    device: of profile paper; the others' small images are computed on the CPU.
    """

    setting: Setting
    profile: str
    seed: int = 0
    root: Path | None = None
    device: str = "auto"

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "begun", "zoo", "written", "tuned" {start: ...}. Raises `InputError` where packages of the extra or the
        data are absent, and where the record was made with other settings.
        """
        if fresh:
            began, numbers = time.perf_counter(), self.numbers()
            with storing(self.profile, EXPERIMENT):
                return write_record(
                    EXPERIMENT,
                    self.profile,
                    numbers,
                    config=self.setting,
                    seeds={"all": self.seed},
                    n=len(numbers["written"]["unseen"]),
                    wall_seconds=time.perf_counter() - began,
                    data_source=numbers["begun"]["source"],
                )
        return read_record(EXPERIMENT, self.profile, self.setting, {"all": self.seed})

    def numbers(self) -> dict:
        """Compute everything; what was computed before is read."""
        job = Job(self.setting, self.profile, self.seed, self.device if self.profile == "paper" else "cpu", self.root)
        found = {}
        # One after the other: each begins from what the one before it left.
        for name, kind in (("begun", Begun), ("zoo", Collected), ("written", Written)):
            (found[name],) = run([job.other(kind)], name)
        tuned = run([job.other(Tuned, start=start) for start in STARTS], "fine-tuning")
        return found | {"tuned": dict(zip(STARTS, tuned, strict=True))}

    def check_live(self, record: dict) -> str:
        """Compose the test scenes again, and compare what is in them with the record; needs no package of the extra.

        Returns one sentence; raises `AssertionError` where the record does not hold.
        """
        test = Job(self.setting, self.profile, self.seed, root=self.root).scenes("test")
        counted = torch.cat(list(test.classes)).bincount(minlength=len(record["numbers"]["begun"]["objects"])).tolist()
        assert counted == record["numbers"]["begun"]["objects"], f"objects by class are now {counted}"
        return f"{len(test)} test scenes composed again; their {sum(counted)} objects agree with the record"

    def voc(self, fresh: bool) -> dict | str:
        """In profile smoke the paper's way, on a stand-in for PASCAL VOC; elsewhere where its numbers are."""
        if self.profile == "paper":
            return "PASCAL VOC: all of this notebook is about it"
        if self.profile != "smoke" or not fresh:
            return (
                "PASCAL VOC: not measured; unpack VOCtrainval_11-May-2012.tar into data/datasets, or set RPG_DATA to "
                "the folder that holds VOCdevkit/, and run profile paper with fresh=True"
            )
        root = voc.stand_in(working_dir(self.profile, "voc"))
        model = replace(SMOKE.model, task_bits=len(voc.VOC_CLASSES))
        small = replace(SMOKE, source="voc", model=model)
        return replace(self, setting=small, root=root).numbers()
