"""What nbval leaves out when it compares a committed notebook with a fresh run."""

import os

# Pictures and tables have a text form beside them, which is compared; stderr holds warnings and progress bars.
SKIPPED = ("text/html", "image/svg+xml", "application/pdf", "application/vnd.jupyter.widget-view+json", "stderr")


def pytest_collectstart(collector):
    """Set up every notebook as it is collected."""
    if collector.path and collector.path.suffix == ".ipynb":
        collector.skip_compare += SKIPPED
        os.environ.setdefault("TQDM_DISABLE", "1")
