"""What the SCP takes: every storage SOP class, in every transfer syntax that carries its own pixels; and the
questions that it answers.

Built from the dictionaries of pydicom and pynetdicom, so that a newer package brings newer classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

VERIFICATION = "1.2.840.10008.1.1"
"""Verification SOP Class (PS3.4 annex A)."""

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Query/Retrieve Information Models, FIND (PS3.4 sections C.6.1.3 and C.6.2.3)."""

NOT_TAKEN: dict[str, str] = {
    "1.2.840.10008.1.2.4.94": "JPIP Referenced: the pixels stay on a server that may be gone",
    "1.2.840.10008.1.2.4.95": "JPIP Referenced Deflate: likewise",
    "1.2.840.10008.1.2.4.204": "JPIP HTJ2K Referenced: likewise",
    "1.2.840.10008.1.2.4.205": "JPIP HTJ2K Referenced Deflate: likewise",
    "1.2.840.10008.1.2.6.1": "RFC 2557 MIME encapsulation: not a data set",
    "1.2.840.10008.1.2.6.2": "XML Encoding: not a data set",
    "1.2.840.10008.1.2.7.1": "SMPTE ST 2110-20: a live stream, not a stored object (PS3.22)",
    "1.2.840.10008.1.2.7.2": "SMPTE ST 2110-20: likewise",
    "1.2.840.10008.1.2.7.3": "SMPTE ST 2110-30: likewise",
    "1.2.840.10008.1.20": "Papyrus 3: a file format of its own",
}
"""Transfer syntaxes of PS3.6 annex A that are refused, and why."""

RETIRED_STORAGE: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.3": "UltrasoundMultiFrameImageStorageRetired",
    "1.2.840.10008.5.1.4.1.1.5": "NuclearMedicineImageStorageRetired",
    "1.2.840.10008.5.1.4.1.1.6": "UltrasoundImageStorageRetired",
    "1.2.840.10008.5.1.4.1.1.8": "StandaloneOverlayStorage",
    "1.2.840.10008.5.1.4.1.1.9": "StandaloneCurveStorage",
    "1.2.840.10008.5.1.4.1.1.10": "StandaloneModalityLUTStorage",
    "1.2.840.10008.5.1.4.1.1.11": "StandaloneVOILUTStorage",
    "1.2.840.10008.5.1.4.1.1.12.3": "XRayAngiographicBiPlaneImageStorage",
    "1.2.840.10008.5.1.4.1.1.77.1": "VLImageStorageTrial",
    "1.2.840.10008.5.1.4.1.1.77.2": "VLMultiFrameImageStorageTrial",
    "1.2.840.10008.5.1.4.1.1.88.1": "TextSRStorageTrial",
    "1.2.840.10008.5.1.4.1.1.88.2": "AudioSRStorageTrial",
    "1.2.840.10008.5.1.4.1.1.88.3": "DetailSRStorageTrial",
    "1.2.840.10008.5.1.4.1.1.88.4": "ComprehensiveSRStorageTrial",
    "1.2.840.10008.5.1.4.1.1.129": "StandalonePETCurveStorage",
}
"""Retired storage classes of PS3.6 annex A that old archives still send, with a name for pynetdicom."""


PREFERRED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""pynetdicom takes the first of ours that was proposed. Uncompressed first, so that no sender compresses for
us, perhaps lossily; explicit VR before implicit, which loses the VRs of private attributes."""


class SharedContext(PresentationContext):
    """A presentation context that nobody changes: pynetdicom copies all of them deeply for every
    association, which took a tenth of a second for what is offered here."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContext:
        """Itself."""
        return self


@cache
def transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax that is taken, in order of preference; after PREFERRED comes pydicom's own list,
    then the rest of PS3.6 annex A."""
    registered = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    known = dict.fromkeys([*PREFERRED, *map(str, AllTransferSyntaxes), *registered])
    return tuple(uid for uid in known if uid not in NOT_TAKEN)


def storage_classes(extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Every storage SOP class that is taken; `extra` are private ones of the site."""
    current = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    return tuple(dict.fromkeys([*current, *RETIRED_STORAGE, *extra]))


def supported_contexts(extra: Sequence[str] = ()) -> list[PresentationContext]:
    """Presentation contexts of Verification and of all storage classes, for `AE.start_server`.

    Tells pynetdicom that the retired and `extra` classes are storage, which it does not know by itself.
    """
    for uid, keyword in {**RETIRED_STORAGE, **{uid: _keyword(uid) for uid in extra}}.items():
        if uid_to_service_class(uid) is not StorageServiceClass:
            register_uid(uid, keyword, StorageServiceClass)
    syntaxes = [UID(uid) for uid in transfer_syntaxes()]
    storage = [_context(uid, syntaxes) for uid in storage_classes(extra)]
    return [_context(VERIFICATION, syntaxes[: len(PREFERRED)]), *storage]


def find_contexts() -> list[PresentationContext]:
    """Presentation contexts of the questions that are answered."""
    syntaxes = [UID(uid) for uid in PREFERRED]
    return [_context(uid, syntaxes) for uid in (PATIENT_ROOT_FIND, STUDY_ROOT_FIND)]


def _context(sop_class: str, syntaxes: list[UID]) -> PresentationContext:
    context = SharedContext()
    context.abstract_syntax = UID(sop_class)
    context.transfer_syntax.extend(syntaxes)  # one by one through the setter they are validated each time
    return context


def _keyword(uid: str) -> str:
    return "Private_" + uid.replace(".", "_")
