"""`make demo`: the panel is a page whose buttons work in a browser."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("voila", reason="voila is not installed (make env)")

ROOT = Path(__file__).parents[3]
PAGE = "experiments/tasks/demo.ipynb"
CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 120
"""Seconds: a page waits for its kernel, which loads PyTorch."""


@pytest.fixture
def address(tmp_path):
    """Where voila serves the page: on a port that was free, or on the next if another process was faster."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "voila", PAGE, *options], cwd=ROOT, stderr=log)
        try:
            yield wait(lambda: re.search(r"http://127\.0\.0\.1:\d+/", (tmp_path / "log").read_text()))[0]
        finally:
            server.terminate()
            server.wait(PATIENCE)


def wait(ask):
    """What `ask` returns as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := ask()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def test_the_page_is_the_panel_that_a_kernel_runs(address):
    with urllib.request.urlopen(address, timeout=PATIENCE) as page:
        text = page.read().decode()
    assert "<h1" in text and "application/vnd.jupyter.widget-view+json" in text
    assert "Traceback" not in text and "panel.press()" not in text, "a page shows no code"


@pytest.mark.skipif(CHROME is None, reason="neither Chromium nor Chrome is installed")
def test_a_press_in_a_browser_writes_another_network(address, tmp_path):
    websocket = pytest.importorskip("websocket")
    profile = tmp_path / "profile"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    ]
    with subprocess.Popen([CHROME, *options, address], stderr=subprocess.DEVNULL) as browser:
        try:
            port = wait(lambda: (profile / "DevToolsActivePort").exists() and port_of(profile))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as pages:
                (target,) = (x["webSocketDebuggerUrl"] for x in json.load(pages) if x["type"] == "page")
            page = websocket.create_connection(target, suppress_origin=True, timeout=PATIENCE)

            def ask(script: str):
                message = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": script}}
                page.send(json.dumps(message))
                while "id" not in (said := json.loads(page.recv())):
                    pass
                return said.get("result", {}).get("result", {}).get("value")  # none while a page loads

            button = "[...document.querySelectorAll('button')].find(x => x.textContent.includes('Write a network'))"
            shown = "document.querySelector('img.widget-image, .widget-image img, img.jupyter-widgets')?.src"
            first = wait(lambda: ask(f"{button} ? {shown} : ''"))
            ask(f"{button}.click()")
            wait(lambda: ask(shown) not in (None, first))
            assert re.search(r"Written, tested on \d+ images", ask("document.body.innerText"))
        finally:
            browser.terminate()


def port_of(profile: Path) -> str:
    return (profile / "DevToolsActivePort").read_text().partition("\n")[0]
