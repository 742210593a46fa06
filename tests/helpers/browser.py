"""A cell of a notebook in JupyterLab, in a real browser; as a program it takes the pictures of the panels of 18.

python tests/helpers/browser.py    # figures/18_explore.png and figures/18_circumstances.png, from what is recorded
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
from PIL import Image
from playwright.sync_api import Locator, sync_playwright

from experiments.pictures import few_colours
from experiments.records import figures_dir, home

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 300  # seconds, against hanging only: on a busy machine JupyterLab takes a minute to open
NO_NEWS = "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"

EXPLORE = """
from experiments.profiles import unseen_tasks as recipe_of
from experiments.tasks import unseen
from experiments.tasks.panel import Panel
panel = Panel(unseen.unseen_tasks(recipe_of("cpu"), "cpu", False), "digits with a closed loop", 3)
panel.press()
panel
"""
CIRCUMSTANCES = """
from experiments.ondemand import setting
from experiments.ondemand.panel import CircumstancesPanel
CircumstancesPanel(setting.at_hand("cpu"), {"angle": 145, "blur": 0.4, "noise": 0.2})
"""


@contextmanager
def panel_in_browser(cell: str) -> Iterator[Locator]:
    """Run `cell` in JupyterLab as a person would see it; yield the panel that it ends with."""
    with tempfile.TemporaryDirectory() as folder, _jupyterlab(cell, Path(folder)) as address, sync_playwright() as p:
        # As root, as in a container, Chromium starts without its sandbox alone; the page is our own.
        browser = p.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 900})
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(address)
            prompt = page.locator(".jp-CodeCell .jp-InputPrompt").first
            # The status bar says when the kernel can run a cell; before that it is not run, or a dialog asks to wait.
            page.get_by_text("| Idle").wait_for()
            while not re.search(r"[\d*]", prompt.inner_text()):
                page.keyboard.press("Escape")  # such a dialog
                page.locator(".jp-CodeCell").first.click()
                page.keyboard.press("Control+Enter")
                page.wait_for_timeout(1000)
            panel = page.locator(".jp-OutputArea-output .widget-vbox").first
            panel.wait_for()
            yield panel
        finally:
            browser.close()


@contextmanager
def _jupyterlab(cell: str, folder: Path) -> Iterator[str]:
    """Serve a notebook of one cell; nothing of the user's own settings, kernels and workspaces is touched."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.strip())], metadata={"kernelspec": kernel}
    )
    nbformat.write(notebook, folder / "panel.ipynb")
    news = folder / NO_NEWS
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        **{f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")},
        "IPYTHONDIR": "ipython",
    }
    own = {name: str(folder / place) for name, place in own.items()}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += ["--IdentityProvider.token=", "--ServerApp.log_level=ERROR"]
    server = subprocess.Popen(
        command, env={**os.environ, **own, "PYTHONPATH": os.pathsep.join(paths), "RPG_HOME": str(home())}
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api", server)
        yield f"http://127.0.0.1:{port}/doc/tree/panel.ipynb"
    finally:
        # The server ends its kernels before it ends itself.
        server.terminate()
        server.wait(PATIENCE)


def _wait_for(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.poll() is None:
        try:
            urlopen(address, timeout=PATIENCE).close()
            return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError("JupyterLab did not start")


def main() -> None:
    for name, cell, ready in (
        ("18_explore", EXPLORE, "Written"),
        ("18_circumstances", CIRCUMSTANCES, "weights written"),
    ):
        with panel_in_browser(cell) as panel:
            panel.get_by_text(ready).wait_for()
            with Image.open(io.BytesIO(panel.screenshot())) as picture:
                few_colours(picture).save(figures_dir("cpu") / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
