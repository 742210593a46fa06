"""What a row of the main results says of its generators: one, or several that were trained on its zoo."""

from collections.abc import Mapping

from experiments.claims import interval
from experiments.report.pages import spread


def generated(numbers: Mapping) -> list[float]:
    """The mean accuracy (percent) of what each generator writes."""
    return [one["generated"]["mean"] for one in numbers.get("by_seed", [numbers])]


def untrained(numbers: Mapping) -> list[float]:
    """The same of every generator before its training."""
    return [one["untrained generator"]["mean"] for one in numbers.get("by_seed", [numbers["baselines"]])]


def error_iou(numbers: Mapping) -> list[float]:
    """Error-IoU among what each generator writes."""
    if "by_seed" in numbers:
        return [one["generated"]["error_iou"] for one in numbers["by_seed"]]
    return [numbers["diversity"]["among_generated"]]


def accuracy(numbers: Mapping) -> str:
    """Over several generators their mean and its interval; of one the mean ± standard deviation over its networks."""
    values = generated(numbers)
    return interval(values).text(signed=False) if len(values) > 1 else spread(numbers["generated"])


def difference(numbers: Mapping) -> str:
    """Generated less original accuracy, over several generators with its interval."""
    values = [mean - numbers["original"]["mean"] for mean in generated(numbers)]
    return interval(values).text() if len(values) > 1 else f"{values[0]:+.2f}"


def counts(numbers: Mapping) -> str:
    """How many originals and how many generated networks there are: generators x networks of each."""
    several, n = len(generated(numbers)), numbers["generated"]["n"]
    return f"{numbers['original']['n']}, {several} x {n}" if several > 1 else f"{numbers['original']['n']}, {n}"


def minutes(numbers: Mapping) -> float:
    """Of the first generator: training, generating, evaluating, baselines. The zoo may have been there before."""
    return (sum(numbers["seconds"].values()) - numbers["seconds"]["collect"]) / 60
