"""What a C-FIND needs of Orthanc, by the REST interface inside the process."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

LONG_FORM = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
)
"""VRs whose length takes four bytes after two reserved ones (PS3.5 table 7.1-1)."""
PREAMBLE = 132
PLURAL = {"Patient": "patients", "Study": "studies", "Series": "series", "Instance": "instances"}


class Api(Protocol):
    """The functions of the module `orthanc` that are used here."""

    def RestApiGet(self, uri: str, /) -> bytes:  # noqa: N802 - Orthanc's own names, here and below
        """Body of GET `uri`."""

    def RestApiPost(self, uri: str, body: bytes, /) -> bytes:  # noqa: N802
        """Body of the answer to POST `uri`."""

    def CreateDicom(self, tags: str, pixels: None, flags: int, /) -> bytes:  # noqa: N802
        """A file, in Explicit VR Little Endian, with the elements of a JSON object."""


@dataclass(frozen=True)
class Resource:
    """A patient, study, series or instance."""

    id: str
    level: str
    tags: Mapping[str, str]
    """The main tags that Orthanc's database keeps at its level, by Orthanc's names."""
    patient: Mapping[str, str]
    """Of a study: the patient's, as this study tells them."""
    parent: str
    children: tuple[str, ...]


class FindArchive:
    """Orthanc's answers, kept for as long as one query lasts. Raises what the API raises."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._resources: dict[tuple[str, str], Resource] = {}
        self._vrs: dict[str, str] = {}

    def find(self, level: str, constraints: Mapping[str, str], *, case_sensitive: bool) -> list[str]:
        """Ids of what matches, in Orthanc's own order."""
        asked = {"Level": level, "Query": constraints, "CaseSensitive": case_sensitive, "Expand": False}
        found = json.loads(self._api.RestApiPost("/tools/find", json.dumps(asked).encode("utf-8")))
        return [str(one) for one in found]

    def study_of_uid(self, study_uid: str) -> str | None:
        """Orthanc id of a study; None where it is not here."""
        found = json.loads(self._api.RestApiPost("/tools/lookup", study_uid.encode("ascii", "replace")))
        return next((str(one["ID"]) for one in found if one["Type"] == "Study"), None)

    def resource(self, level: str, identifier: str) -> Resource:
        """One of them."""
        key = (level, identifier)
        if key not in self._resources:
            found = json.loads(self._api.RestApiGet(f"/{PLURAL[level]}/{quote(identifier)}"))
            self._resources[key] = Resource(
                identifier,
                level,
                found["MainDicomTags"],
                found.get("PatientMainDicomTags", {}),
                str(
                    found.get(
                        {"Study": "ParentPatient", "Series": "ParentStudy"}.get(level, "ParentSeries"), ""
                    )
                ),
                tuple(found.get({"Patient": "Studies", "Study": "Series"}.get(level, "Instances"), ())),
            )
        return self._resources[key]

    def header(self, instance: str) -> dict[str, Any]:
        """All elements of an instance that are not too long, by tag: {"Type": ..., "Value": ...}."""
        return dict(json.loads(self._api.RestApiGet(f"/instances/{quote(instance)}/tags")))

    def sop_class(self, instance: str) -> str:
        """SOP Class UID."""
        uri = f"/instances/{quote(instance)}/metadata/SopClassUid"
        return self._api.RestApiGet(uri).decode("ascii", "replace")

    def vr(self, tag: str) -> str:
        """Value representation by Orthanc's dictionary: of the element that it makes itself."""
        if tag not in self._vrs:
            self._vrs[tag] = vrs(self.dicom({tag: ""})).get(tag, "UN")
        return self._vrs[tag]

    def dicom(self, elements: Mapping[str, Any]) -> bytes:
        """A file with those elements, by tag; VRs and character set are Orthanc's own."""
        return self._api.CreateDicom(json.dumps(elements), None, 0)


def vrs(part10: bytes) -> dict[str, str]:
    """VR of every element at the first level of a file in Explicit VR Little Endian without undefined
    lengths, as Orthanc makes them of empty values."""
    found, at = {}, PREAMBLE
    while at + 8 <= len(part10):
        group, element = struct.unpack_from("<HH", part10, at)
        vr = part10[at + 4 : at + 6]
        if vr in LONG_FORM:
            length, skipped = struct.unpack_from("<I", part10, at + 8)[0], 12
        else:
            length, skipped = struct.unpack_from("<H", part10, at + 6)[0], 8
        found[f"{group:04x},{element:04x}"] = vr.decode("ascii", "replace")
        at += skipped + length
    return found


def appended(part10: bytes, elements: Sequence[tuple[int, int, str, bytes]]) -> bytes:
    """The file with more elements (group, element, VR, value) at its end."""
    added = []
    for group, element, vr, value in elements:
        padded = value + (b"\0" if vr in ("UI", "UN") else b" ") * (len(value) % 2)
        added.append(struct.pack("<HH2sH", group, element, vr.encode("ascii"), len(padded)) + padded)
    return part10 + b"".join(added)
