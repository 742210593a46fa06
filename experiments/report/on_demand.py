"""The README's table of networks on demand: what a generator writes, beside what one would train instead."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

from experiments.claims import interval
from experiments.ondemand.family import HELD_OUT
from experiments.ondemand.networks import TOGETHER
from experiments.ondemand.study import GENERALIST, HYPERNETWORK, SPECIALISTS
from experiments.ondemand.tables import against, each, once, renewed
from experiments.report import pages

OURS, LARGER, TOLD, TURNED_BACK = "behaviour", "larger", "generalist, told", "generalist, images turned back"
BETTER = " †"
LABELS = {
    OURS: "ours, written for the setting",
    SPECIALISTS: "trained there",
    GENERALIST: "one for all settings",
    LARGER: "one for all, {} times as large",
    TOLD: "one for all that is told the setting",
    TURNED_BACK: "one for all, and a program that knows the angle turns images back",
    HYPERNETWORK: "written by a plain hypernetwork",
}


@dataclass(frozen=True)
class Images:
    """What was found on one kind of images.

    numbers: with those generalists that others are compared with; larger: the largest of these.
    """

    kind: str
    record: dict
    numbers: dict
    larger: str

    @property
    def size(self) -> int:
        """Of the networks by which tokens are centred and scaled."""
        return self.record["config"]["variants"][OURS]["size"]

    def head(self) -> str:
        settings = sum(kind in HELD_OUT for kind in self.numbers["kinds"])
        return f"{self.kind}: {settings} settings, {self.numbers['weights'][OURS]:,} weights"

    def accuracy(self, name: str) -> str:
        """With its interval over seeds, and a mark where it is above ours by the interval of the difference."""
        values, several = each(self.numbers, name), len(self.numbers["accuracy"][name]) > 1
        mark = BETTER if interval(against(self.numbers, OURS, name)).high < 0 else ""
        return f"{interval(values).text(signed=False) if several else f'{values[0]:.2f}'} %{mark}"

    def apiece(self, name: str) -> float:
        """Seconds of one core for a further network."""
        return self.numbers["cost"][name]["network"]["mean"]

    def times(self, name: str) -> str:
        """As many weights as ours has."""
        return f"{self.numbers['weights'][name] / self.numbers['weights'][OURS]:.0f}"

    def minutes(self, name: str) -> str:
        """Of one core, before a first network is asked for."""
        if name in (OURS, HYPERNETWORK):
            seconds = once(self.record["numbers"], name, self.size)
        else:
            seconds = self.numbers["cost"][name]["train"]["mean"]
        return f"{seconds / 60:.{0 if seconds >= 300 else 1}f}"


def region() -> str:
    """What stands in the README."""
    digits, natural = (pages.record(name) for name in ("networks_on_demand", "networks_on_demand_cifar10"))
    longer = renewed(digits["numbers"], pages.numbers("networks_on_demand_generalists"))
    both = (
        Images("digits", digits, longer, "generalist, 4 x channels"),
        Images("CIFAR-10", natural, natural["numbers"], "generalist, larger"),
    )

    def each_of(say: Callable[[Images], object]) -> str:
        return " and ".join(str(say(one)) for one in both)

    def row(name: str, label: str) -> list[str]:
        own = {one.kind: one.larger if name == LARGER else name for one in both}
        if name == SPECIALISTS:
            time = f"{both[0].apiece(name):.1f} ({TOGETHER} at a time) and {both[1].apiece(name):.0f} s each"
        else:
            time = f"{each_of(lambda one: one.minutes(own[one.kind]))} min once"
        if name == OURS:
            time += f", then {1e3 * max(one.apiece(name) for one in both):.0f} ms each"
        return [
            label.format(each_of(lambda one: one.times(own[one.kind]))),
            *(one.accuracy(own[one.kind]) for one in both),
            time,
        ]

    before = """Images are turned by any angle, blurred and noisy, and a network is wanted for the setting at hand, one
        of those that are held out of all training, but for networks that are trained there."""
    counts = " and ".join(dict.fromkeys(str(one.record["n"]) for one in both))
    after = f"""Test accuracy (intervals of 95 %, {counts} trainings of each;
        [22]({pages.notebook("22")})). {BETTER.strip()}: better than ours, by an interval of the difference. Ours is
        RPG's recurrent model without diffusion, learns from images, and takes weights' scale from
        {each_of(lambda one: one.size)} networks for other settings. From {digits["config"]["sizes"][-1]} checkpoints of
        digits alone, with diffusion, it has {mean(each(longer, "zoo, diffusion")):.2f} %."""
    columns = ["network", *(one.head() for one in both), "time of one core (two machines)"]
    table = pages.table(columns, [row(name, label) for name, label in LABELS.items()])
    return "\n\n".join([pages.paragraph(before), table, pages.paragraph(after)])
