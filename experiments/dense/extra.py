"""The packages of the extra `dense`."""

from experiments.extras import Extra

EXTRA = Extra("dense", ("faster_coco_eval", "torchmetrics", "transformers"))
package, absent = EXTRA.package, EXTRA.absent
