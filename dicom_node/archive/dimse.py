"""Any archive that takes C-STORE: Storage Service Class as SCU, PS3.4 annex B."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node.archive.failures import ALREADY_THERE, failure
from dicom_node.archive.protocol import DeliveryReceipt, SopClassRefusedError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ReportError

_SUCCESS = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
"""Success, and the warnings of PS3.4 table B.2-1, which say that the object was stored."""

_REJECTED_PERMANENT = 1
"""Result of A-ASSOCIATE-RJ, PS3.8 table 9-21; 2 is transient."""


class CStoreArchive:
    """ReportArchive over C-STORE, one association per report. Safe for threads."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        ae_title: str,
        calling_ae_title: str,
        timeout: float = 30.0,
    ) -> None:
        """`ae_title` is the archive's; `timeout` in seconds holds for the connection and each answer."""
        self._name = name
        self._address = (host, port)
        self._ae_title = ae_title
        self._calling_ae_title = calling_ae_title
        self._timeout = timeout

    def __str__(self) -> str:
        """For messages: the archive's name, AE title and address."""
        host, port = self._address
        return f"archive '{self._name}' ({self._ae_title} at {host}:{port})"

    @property
    def name(self) -> str:
        """As in the node's settings."""
        return self._name

    def close(self) -> None:
        """Nothing to do: no association outlives its report."""

    def deliver(self, report: bytes, sop_instance_uid: str, sop_class_uid: str) -> DeliveryReceipt:
        """Store one Part 10 file; only its own SOP class is proposed.

        Raises SopClassRefusedError where the peer accepts no presentation context for that class, or
        answers 0x0122 (SOP class not supported).
        """
        dataset = dcmread(BytesIO(report))
        if dataset.SOPInstanceUID != sop_instance_uid or dataset.SOPClassUID != sop_class_uid:
            raise ReportError(
                "the report carries another SOP Instance or Class UID than it is delivered under"
            )
        with self._association(sop_class_uid) as association:
            status = self._store(association, dataset)
        if status not in _SUCCESS and status not in ALREADY_THERE:
            raise failure(str(self), status, sop_class_uid)
        return DeliveryReceipt(self.name, sop_instance_uid, already_there=status in ALREADY_THERE)

    def _store(self, association: Association, dataset: Dataset) -> int:
        """Status of the C-STORE-RSP."""
        try:
            answer = association.send_c_store(dataset)
        except RuntimeError as error:
            # The association went away between its negotiation and the request.
            raise ArchiveUnavailableError(f"{self} ended the association; it is tried again later") from error
        if "Status" not in answer:
            raise ArchiveUnavailableError(
                f"{self} did not answer the C-STORE within {self._timeout:g} s, or aborted; "
                "it is tried again later"
            )
        return int(answer.Status)

    @contextmanager
    def _association(self, sop_class_uid: str) -> Iterator[Association]:
        entity = AE(ae_title=self._calling_ae_title)
        entity.connection_timeout = self._timeout
        entity.acse_timeout = self._timeout
        entity.dimse_timeout = self._timeout
        entity.network_timeout = self._timeout
        # Implicit VR is the one syntax that every peer must take (PS3.5 section 10.1).
        entity.add_requested_context(UID(sop_class_uid), [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        host, port = self._address
        association = entity.associate(host, port, ae_title=self._ae_title)
        if not association.is_established:
            raise self._not_established(association, sop_class_uid)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _not_established(
        self, association: Association, sop_class_uid: str
    ) -> ArchiveRefusedError | ArchiveUnavailableError:
        if association.rejected_contexts:
            return SopClassRefusedError(f"{self} takes no object of SOP class {sop_class_uid}", sop_class_uid)
        if association.is_rejected:
            answer = association.acceptor.primitive
            if answer is not None and answer.result == _REJECTED_PERMANENT:
                return ArchiveRefusedError(
                    f"{self} rejected the association for good ({answer.reason_str}); check both AE titles"
                )
            return ArchiveUnavailableError(
                f"{self} rejected the association for now; it is tried again later"
            )
        return ArchiveUnavailableError(
            f"{self} could not be reached; check that it runs and that host and port are right"
        )
