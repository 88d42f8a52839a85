"""The node's DICOM port: Verification, Storage and Query, and the C-ECHO that asks another one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.dimse.contexts import VERIFICATION, find_contexts, supported_contexts
from dicom_node.dimse.find_scp import FindDesk, FindPorts, FindSettings
from dicom_node.dimse.negotiation import handle_extended
from dicom_node.dimse.reception import SpoolingProvider
from dicom_node.dimse.status import SUCCESS
from dicom_node.dimse.store_scp import handle_store
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ConfigError
from dicom_node.intake import Intake

MAX_PDU = 131072
"""Bytes (PS3.8 annex D.1). Larger ones gain nothing, the default of 16382 costs a third of the rate."""
ACSE_SECONDS = 30.0
"""For the association request after the connection, and for the answer to a release."""
QUIET_EVENTS = (evt.EVT_DIMSE_RECV, evt.EVT_DIMSE_SENT, evt.EVT_PDU_RECV, evt.EVT_PDU_SENT)
"""pynetdicom describes each of these in words for its debug log, at the cost of a quarter of the rate."""


@dataclass(frozen=True, slots=True)
class ScpSettings:
    """How the port behaves."""

    ae_title: str = "M3BIND"
    host: str = "127.0.0.1"
    port: int = 11112
    """0: any free one."""
    max_associations: int = 32
    """A further one is rejected as transient (PS3.8 section 9.3.4): the peer tries again."""
    idle_seconds: float = 60.0
    """A peer silent for this long is aborted."""
    calling_ae_titles: tuple[str, ...] = ()
    """Who may call; empty: anyone."""
    private_storage_classes: tuple[str, ...] = ()
    """SOP classes of the site's own that are storage too."""
    find: FindSettings = field(default_factory=FindSettings)


class DicomServer:
    """Listens until it is stopped. Order of calls: `start`, `stop`."""

    def __init__(self, intake: Intake, settings: ScpSettings, ports: FindPorts | None = None) -> None:
        """`ports`: what answers questions; without them none is taken."""
        self._intake = intake
        self._ports = ports
        self._settings = settings
        self._log = structlog.get_logger().bind(room="dimse")
        self._entity: AE | None = None
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on. Raises ConfigError before `start`."""
        if self._server is None:
            raise ConfigError("the DICOM port is not open; call start() first")
        return int(self._server.server_address[1])

    def start(self) -> int:
        """Open the port and return its number. Raises ConfigError where it cannot be opened."""
        settings = self._settings
        entity = AE(settings.ae_title)
        entity.maximum_pdu_size = MAX_PDU
        entity.maximum_associations = settings.max_associations
        entity.network_timeout = settings.idle_seconds
        entity.dimse_timeout = settings.idle_seconds
        entity.acse_timeout = ACSE_SECONDS
        entity.require_calling_aet = list(settings.calling_ae_titles)
        contexts = supported_contexts(settings.private_storage_classes)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._prepare),
            (evt.EVT_CONN_CLOSE, self._clear),
            (evt.EVT_C_STORE, handle_store, [self._intake, self._log]),
        ]
        if self._ports is not None:
            contexts += find_contexts()
            desk = FindDesk(self._ports, settings.find, self._log)
            handlers += [(evt.EVT_C_FIND, desk.handle), (evt.EVT_SOP_EXTENDED, handle_extended)]
            # pynetdicom writes every question and answer out for its log, whether or not anyone reads it.
            _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        try:
            server = entity.start_server(
                (settings.host, settings.port), block=False, contexts=contexts, evt_handlers=handlers
            )
        except OSError as error:
            raise ConfigError(
                f"dimse.port: cannot listen on {settings.host}:{settings.port} ({error.strerror})"
            ) from error
        self._entity, self._server = entity, server
        return self.port

    def stop(self) -> None:
        """Abort what is open and close the port. What was acknowledged is safe. Idempotent."""
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = self._server = None

    def _prepare(self, event: Event) -> None:
        """A connection was taken; nothing has been read from it yet."""
        association = event.assoc
        for kind in QUIET_EVENTS:
            bound = cast("list[tuple[Callable[..., Any], Any]]", association.get_handlers(kind))
            for handler, _ in list(bound):
                association.unbind(kind, handler)
        association.dimse = SpoolingProvider(association, self._intake)
        transport = association.dul.socket
        if transport is not None and transport.socket is not None:
            transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _clear(self, event: Event) -> None:
        provider = event.assoc.dimse
        if isinstance(provider, SpoolingProvider):
            provider.close()


def echo(
    host: str, port: int, called_ae: str, *, calling_ae: str = "M3BIND", timeout_seconds: float = 10.0
) -> None:
    """C-ECHO (PS3.4 annex A). Returns when the peer answers Success.

    Raises ArchiveUnavailableError when nobody answers, ArchiveRefusedError when the answer is no.
    """
    entity = AE(calling_ae)
    entity.add_requested_context(VERIFICATION)
    for name in ("acse_timeout", "dimse_timeout", "network_timeout", "connection_timeout"):
        setattr(entity, name, timeout_seconds)
    try:  # what is no DICOM problem is told apart first
        socket.create_connection((host, port), timeout=timeout_seconds).close()
    except OSError as error:
        raise ArchiveUnavailableError(
            f"nobody answers at {host}:{port}: check host, port and firewall"
        ) from error
    association = entity.associate(host, port, ae_title=called_ae)
    if not association.is_established:
        if association.is_rejected:
            raise ArchiveRefusedError(
                f"{called_ae} at {host}:{port} rejected the association: check both AE titles"
            )
        raise ArchiveUnavailableError(f"{host}:{port} takes connections, but does not answer as DICOM does")
    try:
        answer = association.send_c_echo()
    finally:
        association.release()
    status = answer.get("Status") if answer else None
    if status is None:
        raise ArchiveUnavailableError(f"{called_ae} at {host}:{port} did not answer the C-ECHO in time")
    if status != SUCCESS:
        raise ArchiveRefusedError(f"{called_ae} at {host}:{port} answered the C-ECHO with {status:#06x}")
