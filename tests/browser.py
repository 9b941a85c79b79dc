"""A headless Chromium driven over the DevTools pipe: pages are clicked and typed in as a reader does."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 60.0


def find_browser() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. A script error of the page fails the next command; downloads land in `downloads`."""

    def __init__(self, commands: int, replies: int, downloads: Path) -> None:
        self._commands, self._replies, self.downloads = commands, replies, downloads
        self._buffer, self._last, self._session = b"", 0, ""
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._last:
            self._note(reply)
        if "error" in reply:
            raise AssertionError(f"{method}: {reply['error']}")
        return dict(reply["result"])

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._replies], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._replies, 1 << 16) if ready else b""
            if not data:
                raise AssertionError("the browser does not answer")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"], ensure_ascii=False))
        elif event.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event.get("method") == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {told['message']}")

    def open(self, url: str) -> None:
        failed = self.send("Page.navigate", url=url).get("errorText")
        assert failed is None, failed
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as JSON; a promise is waited for."""
        reply = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(json.dumps(reply["exceptionDetails"], ensure_ascii=False))
        return reply["result"].get("value")

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A real press of the mouse in the middle of the element."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )

    def press(self, key: str, code: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=code)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def fill(self, selector: str, value: object) -> None:
        """Give a field or a choice its value, as when the reader has done with it."""
        self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            f" e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }})()"
        )

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def downloaded(self, name: str) -> bytes:
        """The content of a finished download, which is taken away again."""
        deadline = time.monotonic() + PATIENCE
        path = self.downloads / name
        while not path.is_file():
            assert time.monotonic() < deadline, f"{name} was never downloaded"
            time.sleep(0.02)
        content = path.read_bytes()
        path.unlink()
        return content

    def look(self, *, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def picture(self) -> bytes:
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def browse(directory: Path) -> Iterator[Page]:
    """A tab of a fresh browser whose profile and downloads live in `directory`, gone with the block."""
    browser = find_browser()
    assert browser is not None
    downloads = directory / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    (child_reads, we_write), (we_read, child_writes) = os.pipe(), os.pipe()
    silent = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)
    process = os.posix_spawn(
        browser,
        [browser, *SWITCHES, f"--user-data-dir={directory / 'profile'}"],
        dict(os.environ),
        file_actions=[*silent, (os.POSIX_SPAWN_DUP2, child_reads, 3), (os.POSIX_SPAWN_DUP2, child_writes, 4)],
        setpgroup=0,
    )
    os.close(child_reads)
    os.close(child_writes)
    try:
        page = Page(we_write, we_read, downloads)
        yield page
        assert page.errors == []
    finally:
        os.close(we_write)
        os.close(we_read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGTERM)
        os.waitpid(process, 0)
