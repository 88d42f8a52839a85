"""Starting, finding the port, and stopping without cutting anyone off."""

import asyncio
import socket
import threading

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from dicom_node.errors import ConfigError
from dicom_node.web.server import WebServer


class Slow:
    """Answers once it is allowed to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.allowed = threading.Event()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.asked.set()
        await asyncio.to_thread(self.allowed.wait, 10)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})


def test_port_zero_takes_a_free_port_and_tells_it() -> None:
    with WebServer(Slow(), "127.0.0.1", 0) as server:
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        socket.create_connection(("127.0.0.1", server.port), timeout=2).close()


def test_a_taken_port_is_a_clear_error_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {port}: .*http\.port"):
            WebServer(Slow(), "127.0.0.1", port)


def test_a_name_that_does_not_exist_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="no-such-host"):
        WebServer(Slow(), "no-such-host.invalid", 0)


def test_stop_lets_a_request_finish_and_frees_the_port() -> None:
    app = Slow()
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(server.url, trust_env=False).text))
    asking.start()
    assert app.asked.wait(5)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    app.allowed.set()
    stopping.join(10)
    asking.join(10)
    assert answers == ["done"]
    socket.create_server(("127.0.0.1", server.port)).close()


def test_stop_before_start_frees_the_port() -> None:
    server = WebServer(Slow(), "127.0.0.1", 0)
    server.stop()
    socket.create_server(("127.0.0.1", server.port)).close()
