"""What the SCP offers."""

from __future__ import annotations

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import AllTransferSyntaxes
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dicom_node.dimse.contexts import (
    NOT_TAKEN,
    VERIFICATION,
    storage_classes,
    supported_contexts,
    transfer_syntaxes,
)

PRIVATE = "1.2.826.0.1.3680043.10.1567.77"


def test_every_transfer_syntax_of_the_standard_is_taken_or_refused_for_a_reason() -> None:
    registered = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    everything = registered | set(map(str, AllTransferSyntaxes))
    assert set(transfer_syntaxes()) | set(NOT_TAKEN) >= everything
    assert set(transfer_syntaxes()).isdisjoint(NOT_TAKEN)


def test_the_syntaxes_that_matter_are_there() -> None:
    needed = {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.70",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.203",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.107",
    }
    assert needed <= set(transfer_syntaxes())


def test_the_classes_of_all_five_modalities_and_old_ones_are_there() -> None:
    needed = {
        "1.2.840.10008.5.1.4.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",
        "1.2.840.10008.5.1.4.1.1.9.1.1",
        "1.2.840.10008.5.1.4.1.1.77.1.6",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.88.34",
        "1.2.840.10008.5.1.4.1.1.6",
    }
    assert needed <= set(storage_classes())


def test_every_class_reaches_the_storage_service() -> None:
    contexts = supported_contexts([PRIVATE])
    classes = [str(context.abstract_syntax) for context in contexts]
    assert len(classes) == len(set(classes))
    assert PRIVATE in classes
    for uid in classes:
        if uid != VERIFICATION:
            assert uid_to_service_class(uid) is StorageServiceClass
