"""The HTTP server: uvicorn in a thread of its own, started and stopped by the node."""

from __future__ import annotations

import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from dicom_node.errors import ConfigError, M3BindError

_START_SECONDS = 10.0
"""Building the event loop takes milliseconds; this is for a machine that is busy to the brim."""


class _Announcing(uvicorn.Server):
    """Says when it accepts, so that nobody has to poll."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


class WebServer:
    """One listening address. `start`, then `stop`; or `with WebServer(...) as server`.

    The socket is bound when the object is made, so that a taken port is found before anything else starts.
    Raises ConfigError where the address cannot be used.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, drain_seconds: int = 5) -> None:
        self._socket = _bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        """Where it listens; for port 0, the port that was free."""
        self._server = _Announcing(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,  # the node's own logging stays in charge
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=drain_seconds,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def url(self) -> str:
        """E.g. http://127.0.0.1:8043"""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Serve in a thread; returns when requests are taken."""
        self._thread.start()
        if not self._server.accepting.wait(_START_SECONDS):
            self.stop()
            raise M3BindError(f"the web server did not start within {_START_SECONDS:.0f} s; see the log")

    def stop(self) -> None:
        """Take no more requests, finish those under way, and return when all is closed."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> WebServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"http: cannot listen on {host} port {port}: {error.strerror or error}; "
            "choose another http.host or http.port"
        ) from error
