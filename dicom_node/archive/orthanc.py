"""An Orthanc, by its REST interface: reports go in, announced studies come out.

https://orthanc.uclouvain.be/api/ (POST /instances, POST /tools/lookup, GET /instances/{id}/file)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dicom_node.archive.http_peer import HttpPeer
from dicom_node.archive.protocol import OWN_MANUFACTURER, DeliveryReceipt, StudyGoneError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError

_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
"""A SHA-1 in five groups of eight; no Study Instance UID has this form."""

_AS_IT_IS = {"Accept-Encoding": "identity"}
"""Orthanc would otherwise deflate the pixels, which costs more than the network between the two."""


class OrthancArchive(HttpPeer):
    """ReportArchive and StudySource over Orthanc's REST interface. Safe for threads.

    `url` is Orthanc's root, e.g. http://127.0.0.1:8042.
    """

    def deliver(self, report: bytes, sop_instance_uid: str, sop_class_uid: str) -> DeliveryReceipt:
        """Store one Part 10 file. Orthanc takes every SOP class.

        A repeat is answered with AlreadyStored, and Orthanc keeps what it has (`OverwriteInstances`
        false, its default) or replaces it by the same bytes.
        """
        response = self.send(
            "POST", "instances", content=report, headers={"Content-Type": "application/dicom"}
        )
        answer = _json(self, response.content)
        status = answer.get("Status") if isinstance(answer, dict) else None
        if status not in ("Success", "AlreadyStored"):
            raise ArchiveRefusedError(
                f"{self} did not keep the report of SOP class {sop_class_uid} (status {status}); "
                "check its filters for received instances"
            )
        return DeliveryReceipt(self.name, sop_instance_uid, already_there=status == "AlreadyStored")

    def fetch_study(self, study: str, folder: Path) -> Iterator[Path]:
        """Every instance of a study (Orthanc id or Study Instance UID) but for a node's own reports, as
        `folder`/<Orthanc id>.dcm."""
        identifier = study if _ORTHANC_ID.fullmatch(study) else self._lookup(study)
        for instance in self._instances(identifier):
            yield self._download(instance, folder)

    def _lookup(self, study_uid: str) -> str:
        response = self.send("POST", "tools/lookup", content=study_uid.encode("ascii"))
        answer = _json(self, response.content)
        found = [hit["ID"] for hit in answer if hit.get("Type") == "Study"]
        if not found:
            raise StudyGoneError(f"{self} has no study {study_uid} (any longer)")
        return str(found[0])

    def _instances(self, identifier: str) -> list[str]:
        path = f"studies/{quote(identifier)}/series"
        response = self.send("GET", path, allow=frozenset({404}))
        if response.status_code == 404:
            raise StudyGoneError(f"{self} has no study {identifier} (any longer)")
        foreign = (series for series in _json(self, response.content) if not _is_own(series))
        return [str(instance) for series in foreign for instance in series["Instances"]]

    def _download(self, instance: str, folder: Path) -> Path:
        """Under a passing name first: what stands in the folder under its own name is complete."""
        partial = folder / f"{instance}.part"
        complete = folder / f"{instance}.dcm"
        try:
            path = f"instances/{quote(instance)}/file"
            with self.stream(path, headers=_AS_IT_IS) as chunks, partial.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            partial.rename(complete)
        except ArchiveRefusedError as error:
            # It was listed a moment ago: the study is changing, and the next attempt lists it anew.
            raise ArchiveUnavailableError(
                f"{self} lost an instance while its study was fetched; it is tried again later"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return complete


def _is_own(series: dict[str, Any]) -> bool:
    """Whether a node wrote this series: Orthanc keeps the Manufacturer of each."""
    return str(series["MainDicomTags"].get("Manufacturer", "")).strip() == OWN_MANUFACTURER


def _json(peer: HttpPeer, body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ArchiveRefusedError(
            f"{peer} answered something that is not JSON; is this an Orthanc?"
        ) from error
