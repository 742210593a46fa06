"""An extra's packages: those that are there are imported, and of others one line says what to install."""

import json

import pytest

from experiments.extras import Extra
from rpglib.errors import InputError

EXTRA = Extra("dense", ("json", "a_package_that_nobody_has"))


def test_what_is_there_is_imported():
    assert EXTRA.package("json") is json and EXTRA.package("json.decoder") is json.decoder


def test_what_is_absent_is_named_with_the_remedy():
    assert EXTRA.absent() == ["a_package_that_nobody_has"]
    with pytest.raises(InputError, match=r"a_package_that_nobody_has; install the extra: pip install -e '\.\[dense\]'"):
        EXTRA.package("a_package_that_nobody_has.part")
