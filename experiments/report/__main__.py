"""All pages that are written from records and notebooks: `python -m experiments.report`."""

import runpy

for page in ("results", "paper", "cards"):
    runpy.run_module(f"experiments.report.{page}", run_name="__main__")
