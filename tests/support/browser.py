"""A headless Chromium, driven through its debugging pipe (Chrome DevTools Protocol), nothing else needed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.peers import require

FLAGS = (
    "--headless",
    "--no-sandbox",  # which root, and most containers, cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class BrowserError(AssertionError):
    """The page or the browser did not do what was asked."""


class Page:
    """One tab. Every method gives up after `seconds`."""

    def __init__(self, commands: int, answers: int, seconds: float) -> None:
        self._commands, self._answers, self._seconds = commands, answers, seconds
        self._buffer = b""
        self._next = 0
        self._session: str | None = None
        self._origin = ""
        self.complaints: list[str] = []
        """Errors that the page logged or threw, refusals of its content security policy among them."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Go to an address and wait until the document is complete."""
        self._origin = url.split("/", 3)[2]
        self._ask("Page.navigate", url=url)
        self.wait_for(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression that is JSON; a promise is awaited."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + self._seconds
        while not self._is_true(expression):
            if time.monotonic() > end:
                raise BrowserError(f"still false after {self._seconds:.0f} s: {expression}")

    def _is_true(self, expression: str) -> bool:
        """Now, or after a turn of the page's own loop; a page that goes elsewhere meanwhile says no."""
        turn = "new Promise(done => setTimeout(() => done(true), 50))"
        try:
            return bool(self.evaluate(f"Boolean({expression})")) or not self.evaluate(turn)
        except BrowserError as error:
            if "navigated" in str(error) or "Cannot find context" in str(error):
                return False
            raise

    def press(self, key: str) -> None:
        """Press and release one key, e.g. Tab or Enter."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Tab": 9, "Enter": 13}
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **text)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    def write(self, text: str) -> None:
        """Put text where the focus is, as if it were typed."""
        self._ask("Input.insertText", text=text)

    def axe(self) -> list[str]:
        """What axe finds serious or critical in the page, a line for each fault."""
        package = find_spec("axe_core_python")
        if package is None or package.origin is None:
            raise BrowserError("axe is missing: install axe-core-python, of the development tools")
        self.evaluate(f"{Path(package.origin).with_name('axe.min.js').read_text(encoding='utf-8')}; true")
        faults = self.evaluate(
            "axe.run(document).then(told => told.violations.flatMap(fault => fault.nodes.map("
            "node => [fault.impact, `${fault.id}: ${node.html} ${node.failureSummary}`])))"
        )
        return [line for impact, line in faults if impact in ("serious", "critical")]

    def screenshot(self, path: Path) -> None:
        """The visible part as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            self._listen(answer)
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], self._seconds)
            chunk = os.read(self._answers, 1 << 16) if ready else b""
            if not chunk:
                raise BrowserError("the browser does not answer")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _listen(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("text")))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            # What the page before asked of its own server, which has ended, is nothing to complain of.
            source = str(params["entry"].get("url", ""))
            if source.startswith("http") and self._origin not in source:
                return
            self.complaints.append(str(params["entry"]["text"]))


@contextlib.contextmanager
def open_page(seconds: float = 20.0) -> Iterator[Page]:
    """A fresh browser with one tab; it ends with the block. Without Chromium: skips, in CI fails."""
    (chromium,) = require("chromium")
    commands_in, commands = os.pipe()
    answers, answers_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
        script = f'exec "$@" 3<&{commands_in} 4>&{answers_out}'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", chromium, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands_in, answers_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_in)
        os.close(answers_out)
        try:
            yield Page(commands, answers, seconds)
        finally:
            os.close(commands)
            process.terminate()
            process.wait(10)
            os.close(answers)
