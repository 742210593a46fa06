"""From a kind of network to its record, `segmentation` or `detection`, of `27_dense`."""

import hashlib
import time
from dataclasses import dataclass

from experiments.dense import pictures
from experiments.dense.jobs import Row
from experiments.dense.kinds import SOURCE, Scenes
from experiments.dense.large import paper, stand_in
from experiments.dense.settings import Setting, settings
from experiments.large import tried
from experiments.records import read_record, working_dir, write_record
from experiments.sweeps.cells import run
from rpglib.zoo.images import data_root


@dataclass(frozen=True)
class Study:
    """One kind of network ("segmentation", "detection") in one profile."""

    kind: str
    profile: str
    seed: int = 0

    @property
    def setting(self) -> Setting:
        return settings(self.profile)[self.kind]

    def record(self, fresh: bool) -> dict:
        """Compute and record everything (`fresh`), or read the record. Returns the record.

        numbers: "runs" [...], "populations" {name: ...}, "scenes": a digest. Raises `InputError` where packages of the
        extra are absent, and where the record was made with other settings.
        """
        if fresh:
            return self._run()
        return read_record(self.kind, self.profile, self.setting, {"all": self.seed})

    def _run(self) -> dict:
        began = time.perf_counter()
        rows = {name: Row(self.setting, self.profile, self.seed, population=name) for name in self.setting.populations}
        # All runs first: populations share them.
        runs = run(max((row.runs() for row in rows.values()), key=len), f"runs of {self.kind}")
        found = run(list(rows.values()), self.kind)
        for other in found[1:]:
            del other["shown"]  # pictures are large
        numbers = {"runs": runs, "populations": dict(zip(rows, found, strict=True)), "scenes": digest(self.asked())}
        return write_record(
            self.kind,
            self.profile,
            numbers,
            config=self.setting,
            seeds={"all": self.seed},
            n=self.setting.networks,
            wall_seconds=time.perf_counter() - began,
            data_source=SOURCE,
        )

    def asked(self) -> Scenes:
        """The test scenes."""
        return Scenes.composed("test", self.setting.asked, self.setting.size, self.seed)

    def check_live(self, record: dict) -> str:
        """Compose the test scenes again, and compare them with those that were measured.

        Returns one sentence; raises `AssertionError` where they are others.
        """
        asked = self.asked()
        assert digest(asked) == record["numbers"]["scenes"], f"{self.kind}: the test scenes are not the record's"
        count = sum(len(found["labels"]) for found in asked.objects)
        return f"{self.kind}: {len(asked)} test scenes with {count} digits composed again; they are the record's"

    def pictures(self, record: dict) -> list[dict]:
        """By scene: image, labels and boxes that are true, and for an original and a generated network what it sees."""
        asked, size = self.asked(), self.setting.size
        shown = next(iter(record["numbers"]["populations"].values()))["shown"]
        rows = []
        for k in range(min(pictures.SHOWN, len(asked))):
            true = {"labels": asked.labels[k], "boxes": asked.objects[k]["boxes"].tolist()}
            seen = [
                {"labels": pictures.labels(of[k]["labels"], size), "boxes": [box[:4] for box in of[k]["boxes"]]}
                for of in shown
            ]
            rows.append({"image": asked.images[k, 0], "true": true, "original": seen[0], "generated": seen[1]})
        return rows


def digest(asked: Scenes) -> str:
    """16 hexadecimal digits that tell scenes apart: of their labels, which no rounding changes."""
    return hashlib.sha256(asked.labels.numpy().tobytes()).hexdigest()[:16]


def large(profile: str, fresh: bool) -> dict | str:
    """What the paper's own way finds, in profiles smoke (stand-ins) and paper; elsewhere why it is not gone."""
    elsewhere = "large networks: profile paper trains, writes and evaluates them on ADE20K and COCO in RPG_DATA"

    def compute() -> dict:
        folder = working_dir(profile, "dense")
        rows = paper(data_root()) if profile == "paper" else stand_in(folder / "data")
        return {name: row.compute(folder / name) for name, row in rows.items()}

    return tried(profile, fresh, elsewhere, compute)
