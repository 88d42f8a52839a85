"""Opens a bundle folder: reads it, proves that every file is the one that was sealed, checks that its
parts fit each other.

What is refused here is refused before any encoder is run. Whether the encoders *answer* as they did
where the bundle was sealed is a later question (`dicom_node/inference/selftest.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dicom_node.bundle.catalogue import Calibration, FindingEntry, FindingsFile, ScopeEntry, ScopeFile
from dicom_node.bundle.manifest import READABLE, Encoder, Manifest, Text
from dicom_node.errors import BundleFormatError, BundleIntegrityError
from dicom_node.records import BundleIdentity

MANIFEST = "bundle.json"

Part = TypeVar("Part", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were proven to be the sealed ones."""

    root: Path
    manifest: Manifest
    findings: tuple[FindingEntry, ...]
    scope: Mapping[str, ScopeEntry]
    """By modality id; a modality without an entry is never refused."""
    identity: BundleIdentity

    def path(self, name: str) -> Path:
        """Where the listed file `name` lies."""
        return self.root / name

    def findings_of(self, modality: str) -> tuple[FindingEntry, ...]:
        """The findings that are scored on views of `modality`, in the catalogue's order."""
        return tuple(entry for entry in self.findings if entry.modality == modality)


def open_bundle(path: Path) -> Bundle:
    """Read, verify and check the bundle in folder `path`.

    Raises BundleFormatError where it is not a bundle of a format in READABLE or its parts contradict
    each other, BundleIntegrityError where a file is missing, differs from what was sealed or was not sealed
    at all. Both name the file.
    """
    root = path.resolve()
    if not root.is_dir():
        raise BundleFormatError(f"{path} is not a folder. Give the folder that holds {MANIFEST}.")
    sealed = _read(root, MANIFEST)
    _require_known_format(sealed)
    manifest = _parse(Manifest, sealed, MANIFEST)
    _require_listed(manifest)
    for name, digest in sorted(manifest.files.items()):
        _verify(root, name, digest)
    _refuse_unlisted(root, manifest)
    findings = _parse(FindingsFile, _read(root, manifest.findings), manifest.findings).findings
    scope = _parse(ScopeFile, _read(root, manifest.scope), manifest.scope).modalities
    _check_encoders(manifest)
    _check_findings(manifest, findings)
    _check_scope(manifest, scope)
    identity = BundleIdentity(manifest.name, manifest.version, hashlib.sha256(sealed).hexdigest())
    return Bundle(root, manifest, findings, MappingProxyType(dict(scope)), identity)


class _FormatOnly(BaseModel):
    """Reads the format number alone, so that a later format is named as such and not as a typing error."""

    format: int


def _require_known_format(sealed: bytes) -> None:
    number = _parse(_FormatOnly, sealed, MANIFEST).format
    if number not in READABLE:
        raise BundleFormatError(
            f"{MANIFEST} is of format {number}; this version reads format "
            f"{' and '.join(map(str, READABLE))}. "
            "Install a matching version of the node, or export the bundle again."
        )


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except FileNotFoundError:
        raise BundleFormatError(f"{root} holds no {name}: not a bundle, or only part of one.") from None
    except OSError as error:
        raise BundleFormatError(f"{name} cannot be read: {error.strerror}.") from error


def _parse(kind: type[Part], raw: bytes, name: str) -> Part:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors()[:5]
        )
        raise BundleFormatError(
            f"{name} is not of format {' or '.join(f'v{number}' for number in READABLE)}: {problems}."
        ) from error


def _require_listed(manifest: Manifest) -> None:
    """Every file that the manifest refers to must have a digest: nothing unproven is ever loaded."""
    referenced = {
        manifest.findings,
        manifest.scope,
        manifest.selftest.file,
        manifest.text.file,
        manifest.text.tokenizer,
        *manifest.text.weights,
        *(name for e in manifest.encoders.values() for name in (e.file, *e.weights)),
    }
    for name in sorted(referenced - set(manifest.files)):
        raise BundleFormatError(f"{MANIFEST} refers to {name} but lists no sha256 for it. Export it again.")
    if MANIFEST in manifest.files:
        raise BundleFormatError(f"{MANIFEST} lists itself among its files. Export it again.")


def _verify(root: Path, name: str, digest: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name:
        raise BundleFormatError(f"{MANIFEST} lists {name!r}, which leaves the bundle's folder.")
    file = root / name
    if not file.is_file():
        raise BundleIntegrityError(f"{name} is missing from {root}. Copy the bundle again.")
    if not file.resolve().is_relative_to(root):
        raise BundleFormatError(f"{name} is a link that leaves the bundle's folder.")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise BundleIntegrityError(
            f"{name} is not the file that was sealed (sha256 {found[:12]}…, expected {digest[:12]}…). "
            "Copy the bundle again from where it was made."
        )


def _refuse_unlisted(root: Path, manifest: Manifest) -> None:
    """What lies in the folder and is not in the manifest was never sealed, and a model might reach for it."""
    listed = {PurePosixPath(name) for name in (*manifest.files, MANIFEST)}
    folders = {parent for name in listed for parent in name.parents}
    for found in sorted(root.rglob("*")):
        name = PurePosixPath(found.relative_to(root).as_posix())
        if name not in listed and (name not in folders or found.is_symlink()):
            raise BundleIntegrityError(
                f"{name} lies in {root} and is not among the files that were sealed. Move it elsewhere, "
                "or copy the bundle again from where it was made."
            )


def _check_weights(part: Encoder | Text) -> None:
    """A graph names the files of its weights relative to its own folder."""
    folder = PurePosixPath(part.file).parent
    for name in part.weights:
        if not PurePosixPath(name).is_relative_to(folder):
            raise BundleFormatError(
                f"{MANIFEST}: {name} must lie beside {part.file}, whose weights it holds."
            )


def _check_encoders(manifest: Manifest) -> None:
    _check_weights(manifest.text)
    for encoder in manifest.encoders.values():
        _check_weights(encoder)
    if not manifest.encoders:
        raise BundleFormatError(f"{MANIFEST} holds no encoder.")
    for modality, encoder in manifest.encoders.items():
        rank = 2 if encoder.reader == "ecg" else 3
        if len(encoder.input_shape) != rank or min(encoder.input_shape) < 1:
            raise BundleFormatError(
                f"Encoder {modality}: input_shape {list(encoder.input_shape)} does not fit reader "
                f"{encoder.reader}, which needs {rank} positive sizes."
            )


def _check_findings(manifest: Manifest, findings: tuple[FindingEntry, ...]) -> None:
    seen: set[str] = set()
    for entry in findings:
        if entry.id in seen:
            raise BundleFormatError(f"{manifest.findings}: {entry.id} stands there twice.")
        seen.add(entry.id)
        if entry.modality not in manifest.encoders:
            raise BundleFormatError(
                f"{manifest.findings}: {entry.id} is of modality {entry.modality}, which has no encoder."
            )
        _check_calibration(f"{manifest.findings}: {entry.id}", entry.calibration)
        if entry.enabled == (entry.disabled_because is not None):
            raise BundleFormatError(
                f"{manifest.findings}: {entry.id} needs `disabled_because` if it is not enabled, "
                "and only then."
            )
        if entry.unsure_from is not None and entry.unsure_from > entry.threshold:
            raise BundleFormatError(
                f"{manifest.findings}: {entry.id} is unsure from {entry.unsure_from}, "
                f"which is above its threshold {entry.threshold}."
            )


def _check_calibration(where: str, calibration: Calibration) -> None:
    """A rising margin must give a rising probability, and never two margins the same one."""
    numbers = (calibration.slope, calibration.intercept, *(n for knot in calibration.knots for n in knot))
    if not (all(math.isfinite(n) for n in numbers) and calibration.slope > 0):
        raise BundleFormatError(f"{where} needs a calibration of finite numbers and a slope above 0.")
    knots = calibration.knots
    if (len(knots) >= 2) != (calibration.method == "monotone") or len(knots) == 1:
        raise BundleFormatError(f"{where}: a calibration has two knots or more if it is monotone, else none.")
    if any(not (a[0] < b[0] and a[1] < b[1]) for a, b in pairwise(knots)):
        raise BundleFormatError(f"{where}: the knots of its calibration must rise strictly, both numbers.")


def _check_scope(manifest: Manifest, scope: Mapping[str, ScopeEntry]) -> None:
    for modality, entry in scope.items():
        where = f"{manifest.scope}: {modality}"
        if modality not in manifest.encoders:
            raise BundleFormatError(f"{where} has no encoder.")
        wanted = manifest.dimension if entry.on == "embedding" else len(entry.mean)
        if not wanted or any(len(row) != wanted for row in (entry.mean, *entry.components)):
            raise BundleFormatError(f"{where}: mean and components must have {wanted or 'some'} numbers.")
        if entry.likeness is not None and entry.on != "signature":
            raise BundleFormatError(f"{where} has a likeness, which only a signature can tell.")
        if len(entry.variances) != len(entry.components) or any(v <= 0 for v in entry.variances):
            raise BundleFormatError(f"{where} needs one variance above 0 for each component.")
        numbers = (*entry.mean, *entry.variances, *(x for c in entry.components for x in c))
        numbers += (entry.residual_variance, entry.threshold)
        if entry.likeness is not None:
            numbers += (entry.likeness.distance_limit, entry.likeness.limit, entry.likeness.scale)
        if not all(math.isfinite(x) for x in numbers):
            raise BundleFormatError(f"{where} holds a number that is not finite.")
