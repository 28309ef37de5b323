"""A real browser without a window, asked over its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60


class Browser:
    """One page of Chromium. `asked` are the addresses it has asked for since it was opened, `said` its errors."""

    def __init__(self, program: str, folder: Path, downloads: Path) -> None:
        import aiohttp

        self.asked: list[str] = []
        self.said: list[str] = []
        self.downloads = downloads
        self._count = 0
        self._loop = asyncio.new_event_loop()
        options = ["--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run"]
        options += ["--disable-gpu", "--hide-scrollbars", "--disable-background-networking", "--disable-dev-shm-usage"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # which root cannot have
        self._process = subprocess.Popen(
            [program, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            port = self._port()
            self._session = self._wait(self._open(aiohttp))
            targets = self._wait(self._json(f"http://127.0.0.1:{port}/json"))
            page = next(one for one in targets if one["type"] == "page")
            self._socket = self._wait(self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=2**30))
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
            self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        """Chromium says on stderr where it listens; what it says later is read, so that it never waits for a reader."""
        for line in self._process.stderr or ():
            if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                threading.Thread(target=lambda: [None for _ in self._process.stderr or ()], daemon=True).start()
                return int(found[1])
        raise RuntimeError("the browser ended before it listened")

    async def _open(self, aiohttp: Any) -> Any:
        return aiohttp.ClientSession()

    async def _json(self, url: str) -> Any:
        async with self._session.get(url) as answer:
            return await answer.json(content_type=None)

    def _wait(self, what: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(what, SECONDS))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        self._count += 1
        return self._wait(self._call(self._count, method, parameters))

    async def _call(self, number: int, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = json.loads((await self._socket.receive()).data)
            if told.get("id") == number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]
            self._note(told["method"], told["params"])

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"].get("exception", {}).get("description", told)))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.said.append(told["entry"]["text"])

    def open(self, address: str, width: int = 1300, height: int = 900) -> None:
        """Open a page of ours and wait until it has drawn itself."""
        self.call("Page.navigate", url="about:blank")  # or what waits for the new page would find the old one ready
        self.asked.clear()
        self.said.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=address)
        self.until("document.documentElement?.dataset.ready === 'true'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait until an expression is true, and return it; not where the page has said an error."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if value := self.run(condition):
                return value
            if self.said:
                break
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}; the page said {self.said}")

    def click(self, selector: str) -> None:
        """Click on the middle of an element, as a person does: what covers it gets the click."""
        self.mouse(selector, "mousePressed", button="left", clickCount=1)
        self.mouse(selector, "mouseReleased", button="left", clickCount=1)

    def mouse(self, selector: str, kind: str = "mouseMoved", across: float = 0.5, **more: Any) -> None:
        """Move the mouse to an element, so far `across` it from the left."""
        place = f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: 'center'}});
            const box = element.getBoundingClientRect();
            return [box.left + {across} * box.width, box.top + box.height / 2];
        }})()"""
        x, y = self.run(place)
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def picture(self, file: Path) -> Path:
        """What the page looks like, as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return file

    def downloaded(self, name: str) -> Path:
        """A file that the page saved."""
        end, file = time.monotonic() + SECONDS, self.downloads / name
        while not file.exists():
            assert time.monotonic() < end, f"{name} was not saved; the page said {self.said}"
            self.run("1")
            time.sleep(0.05)
        return file

    def close(self) -> None:
        """End the browser."""
        if hasattr(self, "_session"):
            self._wait(self._session.close())
        self._process.kill()
        self._process.wait()
        self._loop.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium or Chrome; tests that need it skip where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: one of {', '.join(NAMES)}")
    pytest.importorskip("aiohttp", reason="needs aiohttp, from the extra 'dev'")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (downloads := Path(folder, "downloads")).mkdir()
        opened = Browser(program, Path(folder, "profile"), downloads)
        yield opened
        opened.close()
