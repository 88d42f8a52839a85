"""A pool of decoding children: a codec that crashes, hangs or asks for too much memory loses a child and one
frame, never the node.

    with DecoderPool(size=2) as pool:
        pixels = pool(coded, halvings)
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from dicom_node.errors import InputError, UnreadableObjectError
from dicom_node.pixels.decoders.coded import Coded, Pixels
from dicom_node.pixels.decoders.registry import DecoderUnavailableError
from dicom_node.pixels.decoders.wire import READY, length_of, pixels_of, request_of

SECONDS = 30.0
"""For one frame: the slowest real one (8192 x 8192, JPEG 2000) takes a sixth of it on one core."""
MEGABYTES = 4096
"""Address space of a child; the largest frame that is read takes 64 Mi pixels of 4 bytes, thrice."""
MAX_LINE = 4096
PIPE = 1 << 20
"""Bytes that a pipe is asked to hold: what Linux allows to everybody."""
MAX_VALUE = 8
"""Bytes of a sample of a frame, at most."""
START_SECONDS = 60.0
"""For a child to start: it takes one, on a machine that is not busy."""
SPARE_SECONDS = 5
"""After which a child that nobody ended ends itself."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


class _EndedError(Exception):
    """The child is gone."""


_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); from dicom_node.pixels.decode_child import main; main()"
)
"""With `-P`: the folder in which the node happens to run is no place to import from."""
_HANDED_OVER = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR")
"""Of the environment: no password that the node holds is within reach of a codec."""


def _environment() -> dict[str, str]:
    """What a child needs."""
    kept = {name: os.environ[name] for name in _HANDED_OVER if name in os.environ}
    # An empty entry would mean the current folder.
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(path).is_absolute()]
    if paths:
        kept["PYTHONPATH"] = os.pathsep.join(paths)
    # A codec's own threads would take the address space of the child many times over. Two are worth theirs;
    # OpenJPEG is told of them here, as Pillow has no word for it.
    return {**kept, "OMP_NUM_THREADS": "2", "OPJ_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}


class _Child:
    """One process; one thread at a time. Raises DecoderUnavailableError where it cannot be started."""

    def __init__(self, megabytes: int, seconds: float) -> None:
        root = str(Path(__file__).resolve().parents[2])
        patience = math.ceil(seconds) + SPARE_SECONDS
        command = [sys.executable, "-P", "-c", _START, root, str(megabytes), str(patience)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 # our own module, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                bufsize=0,
            )
        except OSError as error:
            raise _unavailable() from error
        assert self._process.stdin is not None  # noqa: S101 # pipes, both
        assert self._process.stdout is not None  # noqa: S101
        os.set_blocking(self._process.stdin.fileno(), False)
        _widen(self._process.stdin.fileno(), self._process.stdout.fileno())
        self._ready = False

    def await_ready(self) -> None:
        """Until it says so. Raises DecoderUnavailableError: no frame has been sent, so none is at fault."""
        assert self._process.stdout is not None  # noqa: S101 # a pipe
        until, held = time.monotonic() + START_SECONDS, b""
        while not self._ready:
            source = self._process.stdout.fileno()
            data = os.read(source, len(READY) - len(held)) if _waited(source, select.POLLIN, until) else b""
            held += data
            self._ready = held == READY
            if not data or not READY.startswith(held):
                raise _unavailable()

    def ask(self, coded: Coded, halvings: int, seconds: float) -> Pixels:
        """Raises InputError as the child tells it, TimeoutError, and _EndedError where the child is gone."""
        assert self._process.stdin is not None  # noqa: S101 # pipes, both
        assert self._process.stdout is not None  # noqa: S101
        until = time.monotonic() + seconds
        try:
            for data in request_of(coded, halvings):
                _write(self._process.stdin.fileno(), data, until)
        except BrokenPipeError:
            raise _EndedError from None
        source, held = self._process.stdout.fileno(), bytearray()
        while (end := held.find(b"\n", 0, MAX_LINE)) < 0:
            if len(held) >= MAX_LINE:
                raise _EndedError
            held += _read(source, until)
        line, begun = bytes(held[:end]), held[end + 1 :]
        wanted = length_of(line)
        if not len(begun) <= wanted <= MAX_VALUE * math.prod(coded.size):
            raise _EndedError  # a child that a frame has taken over must not fill this process's memory
        body = bytearray(wanted)
        body[: len(begun)] = begun
        _fill(source, memoryview(body)[len(begun) :], until)
        return pixels_of(line, body)

    def end(self) -> None:
        """Kill it, and wait for that."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _waited(pipe: int, event: int, until: float) -> bool:
    """Whether a pipe can be read or written (or has ended) in time. `select` knows 1024 descriptors only."""
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(1000 * max(0.0, until - time.monotonic())))


def _read(source: int, until: float) -> bytes:
    if not _waited(source, select.POLLIN, until):
        raise TimeoutError
    data = os.read(source, PIPE)
    if not data:
        raise _EndedError
    return data


def _fill(source: int, view: memoryview, until: float) -> None:
    """All of `view`, from a pipe."""
    while view:
        if not _waited(source, select.POLLIN, until):
            raise TimeoutError
        count = os.readv(source, [view])
        if not count:
            raise _EndedError
        view = view[count:]


def _widen(*pipes: int) -> None:
    """Let pipes hold more than 64 KB, so that parent and child need few turns to move a frame; they stay as
    they are where the system allows no more."""
    for pipe in pipes:
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _write(target: int, data: bytes, until: float) -> None:
    """All of it, to a pipe that does not block."""
    view = memoryview(data)
    while view:
        if not _waited(target, select.POLLOUT, until):
            raise TimeoutError
        view = view[os.write(target, view) :]


class DecoderPool:
    """Up to `size` children, each started when it is first needed. Safe to call from several threads."""

    def __init__(self, size: int, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> None:
        self._seconds, self._megabytes = seconds, megabytes
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._closed = False

    def __call__(self, coded: Coded, halvings: int) -> Pixels:
        """See `registry.decode`. Raises UnreadableObjectError (`decoder-died`, `decoder-hung`) besides, and
        DecoderUnavailableError where no child can be started."""
        with self._free:
            child, used = self._take()
            try:
                return self._ask(child, coded, halvings)
            except TimeoutError:
                raise UnreadableObjectError(
                    "decoder-hung", f"Its pixel data were not decoded within {self._seconds:g} s."
                ) from None
            except (_EndedError, DecoderUnavailableError) as error:
                if not used:
                    raise (_died() if isinstance(error, _EndedError) else error) from None
            # It may have ended while it was idle: the frame deserves a fresh one.
            try:
                return self._ask(_Child(self._megabytes, self._seconds), coded, halvings)
            except (_EndedError, TimeoutError):
                raise _died() from None

    def _ask(self, child: _Child, coded: Coded, halvings: int) -> Pixels:
        """The answer of a child, which is idle again afterwards, or ended where it gave none."""
        try:
            child.await_ready()
            pixels = child.ask(coded, halvings, self._seconds)
        except InputError:
            self._give(child)
            raise
        except BaseException:
            child.end()
            raise
        self._give(child)
        return pixels

    def warm(self) -> None:
        """Start one child now, so that the first frame need not wait for it."""
        self._give(_Child(self._megabytes, self._seconds))

    def close(self) -> None:
        """End all idle children; those at work end after their frame."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for child in idle:
            child.end()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> tuple[_Child, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        return _Child(self._megabytes, self._seconds), False

    def _give(self, child: _Child) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                return
        child.end()


def _died() -> UnreadableObjectError:
    return UnreadableObjectError("decoder-died", "Its pixel data end the program that decodes them.")


def _unavailable() -> DecoderUnavailableError:
    return DecoderUnavailableError(
        "No decoding process can be started: see that memory and processes are left on this machine."
    )
