"""A real HTTP server on 127.0.0.1 whose answers a test chooses, and which remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets. `announced_length` above the body's makes the body look cut short."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced_length: int | None = None
    after: float = 0.0
    """Seconds to wait before answering; ends early when the server stops."""
    hang_up: bool = False
    """Close the connection instead of answering."""


@dataclass
class CannedServer:
    """A server that is up; `requests` grows as they come."""

    port: int
    requests: list[Request]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def canned_http(answer: Callable[[Request], Answer] | Answer, *, port: int = 0) -> Iterator[CannedServer]:
    """Serve inside the block. `port` 0 takes a free one."""
    choose = answer if callable(answer) else (lambda _request: answer)
    requests: list[Request] = []
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            requests.append(request)
            reply = choose(request)
            stopping.wait(reply.after)
            if reply.hang_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            length = len(reply.body) if reply.announced_length is None else reply.announced_length
            for name, value in {**reply.headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            if length != len(reply.body):
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - http.server looks for these names

        def handle(self) -> None:
            # A client that gave up has closed its side: nothing to answer, and nothing to report.
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield CannedServer(server.server_port, requests)
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
