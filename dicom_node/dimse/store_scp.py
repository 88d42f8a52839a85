"""C-STORE (PS3.4 annex B, PS3.7 section 9.1.1): Success means that the instance is on disk and known.

    event --> reception (already in the spool's incoming folder) --> intake --> status

Statuses of the answer, from the table in `status.py`:

    0x0000  stored, or stored before with the same content
    0xA700  the spool is full, or the database does not answer: try again later
    0xA900  SOP Class or SOP Instance UID of message and data set differ
    0xC000  the data set cannot be parsed, or lacks a UID
    0x0111  the same SOP Instance UID was stored before with other content
    0x0117  a UID that is none
    0x0122  the message names no SOP class that is stored (decided in `reception.py`)
    0x0110  anything else
"""

from __future__ import annotations

from typing import cast

from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from structlog.typing import FilteringBoundLogger

from dicom_node.dimse.reception import Reception, reception_of
from dicom_node.dimse.status import SUCCESS, answer_for
from dicom_node.errors import M3BindError, describe, where
from dicom_node.intake import Accepted, Announced, Intake


def handle_store(event: Event, intake: Intake, log: FilteringBoundLogger) -> int | Dataset:
    """Handler of evt.EVT_C_STORE; the rim where every error becomes a status."""
    reception = reception_of(event.request)
    calling_ae = str(event.assoc.requestor.ae_title).strip()
    try:
        accepted = _accept(event, reception, intake, calling_ae)
    except M3BindError as error:
        answer = answer_for(error)
        log.warning("store.refused", status=f"{answer.status:#06x}", error=str(error), calling_ae=calling_ae)
        return answer.to_dataset()
    except Exception as error:  # noqa: BLE001 - the rim: the association must live
        log.error("store.broke", error=describe(error), where=where(error), calling_ae=calling_ae)
        return answer_for(error).to_dataset()
    finally:
        reception.discard()
    log.debug("store.done", added=accepted.added.value, instance=accepted.instance.sop_instance_uid)
    return SUCCESS


def _accept(event: Event, reception: Reception, intake: Intake, calling_ae: str) -> Accepted:
    if reception.error is not None:
        raise reception.error
    assert reception.draft is not None  # noqa: S101 - either the draft or the error is there
    request = cast(C_STORE, event.request)
    announced = Announced(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=reception.transfer_syntax_uid,
        offset=reception.offset,
    )
    return intake.accept_draft(reception.draft, announced, calling_ae=calling_ae)
