"""Messages to a DICOM port, fragment by fragment, right or wrong."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.dimse.server import DicomServer
from dicom_node.pixels.quiet import quiet

COMMAND, DATA, LAST = 1, 0, 2
"""Message control headers (PS3.8 section E.2)."""


def associate(server: DicomServer, *contexts: tuple[str, str]) -> Association:
    """An association of TEST_SCU's, for CT in Explicit VR Little Endian unless told otherwise."""
    entity = AE("TEST_SCU")
    for sop_class, syntax in contexts or ((CTImageStorage, ExplicitVRLittleEndian),):
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", server.port, ae_title="M3BIND")
    assert association.is_established
    return association


def fragment(association: Association, header: int, content: bytes, context_id: int = 1) -> None:
    """One fragment of a message, right or wrong, in a PDU of its own."""
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((context_id, bytes([header]) + content))
    association.dul.send_pdu(primitive)


def command_of(
    instance_uid: str = "1.2.3", *, number: int | None = 1, sop_class: str = CTImageStorage
) -> bytes:
    """A C-STORE-RQ as it goes over the wire."""
    command = Dataset()
    command.AffectedSOPClassUID = sop_class
    command.CommandField = 0x0001
    if number is not None:
        command.MessageID = number
    command.Priority = 2
    command.CommandDataSetType = 0x0001
    with quiet:
        command.AffectedSOPInstanceUID = instance_uid
        encoded = encode(command, True, True)
    assert encoded is not None
    return struct.pack("<HHII", 0, 0, 4, len(encoded)) + encoded
