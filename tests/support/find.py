"""Asking by C-FIND, as programs do (pynetdicom) and as dcmtk's findscu does, with files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import config, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from tests.support.peers import require

PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"


@dataclass(frozen=True, slots=True)
class Told:
    """What came back."""

    statuses: tuple[int, ...]
    """All of them, the final one last."""
    comment: str
    """Error Comment (0000,0902) of the final one."""
    answers: tuple[Dataset, ...]


def identifier(**keys: object) -> Dataset:
    """Keys by keyword; QueryRetrieveLevel among them. None is an empty key."""
    made = Dataset()
    for keyword, value in keys.items():
        tag = Tag(keyword)
        # What is asked may be what the VR forbids: `C?`, `2024-`.
        made[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
    return made


def studies(told: Told) -> list[str]:
    """Numbers of the studies of `find_objects.study` that were found, and all of them told."""
    assert told.statuses[-1] == 0, told
    return sorted(str(answer.StudyInstanceUID).rsplit(".", 1)[1] for answer in told.answers)


def asked(charset: str | None = None, **keys: object) -> Dataset:
    """Keys at level STUDY."""
    told = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", **keys}
    return identifier(**({} if charset is None else {"SpecificCharacterSet": charset}), **told)


def associate(
    port: int, *, called: str = "M3BIND", calling: str = "FINDER", extended: bytes | None = None
) -> Association:
    """An association for both roots; `extended` is what is asked of them beyond the plain rules."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    items = []
    for root in (PATIENT_ROOT, STUDY_ROOT):
        entity.add_requested_context(root)
        if extended is not None:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid = root
            item.service_class_application_information = extended
            items.append(item)
    association = entity.associate("127.0.0.1", port, ae_title=called, ext_neg=items)
    assert association.is_established
    return association


def ask(
    port: int,
    keys: Dataset,
    *,
    root: str = STUDY_ROOT,
    called: str = "M3BIND",
    extended: bytes | None = None,
) -> Told:
    """One C-FIND on an association of its own."""
    association = associate(port, called=called, extended=extended)
    try:
        return gather(association, keys, root)
    finally:
        association.release()


def gather(association: Association, keys: Dataset, root: str = STUDY_ROOT) -> Told:
    """One C-FIND."""
    statuses, answers, comment = [], [], ""
    for status, answer in association.send_c_find(keys, root):
        assert "Status" in status, "the peer answered nothing"
        statuses.append(int(status.Status))
        comment = str(status.get("ErrorComment", ""))
        if answer is not None:
            answers.append(answer)
    return Told(tuple(statuses), comment, tuple(answers))


@dataclass(frozen=True, slots=True)
class FindScu:
    """What findscu got."""

    answers: tuple[Dataset, ...]
    output: str

    @property
    def final(self) -> str:
        """The last status that it shows, e.g. `0x0000`."""
        return re.findall(r"DIMSE Status\s*: (0x[0-9a-f]{4})", self.output)[-1]


def find_scu(
    folder: Path,
    port: int,
    keys: Mapping[str, str],
    *,
    called: str,
    model: str = "-S",
    files: Sequence[Path] = (),
    options: Sequence[str] = (),
) -> FindScu:
    """dcmtk's findscu; `model` is -S (Study Root) or -P (Patient Root); answers go into `folder`."""
    (program,) = require("findscu")
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(program), "-d", model, "-X", "-od", str(folder), "-aec", called, "-aet", "FINDSCU"]
    for key, value in keys.items():
        command += ["-k", f"{key}={value}" if value else key]
    command += [*options, "127.0.0.1", str(port), *map(str, files)]
    done = subprocess.run(
        command, env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, timeout=30, check=False
    )
    found = tuple(dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm")))
    output = (done.stdout + done.stderr).decode("latin-1")
    assert done.returncode == 0, output[-3000:]
    return FindScu(found, output)
