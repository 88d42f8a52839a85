"""Every later reader must load the frozen tiny v2 bundle too: all that format 2 adds to format 1 is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine
from dicom_node.errors import BundleFormatError, BundleIntegrityError
from dicom_node.records import Presence, Sample, SourceRef, Status, StudyRead, View
from tests.support.bundles import alter_json, copy_of, reseal

V2 = Path(__file__).parent / "bundle_v2_tiny"
FROZEN_DIGEST = "613d0141eabb78d4998a798c788c8720ea88894f852789353fb5dfca10d7ac7f"
FROZEN = {"xray.pneumonia": (0.97868, Presence.PRESENT), "xray.cardiomegaly": (0.06161, Presence.ABSENT)}
"""Probability of the first sealed input, and what is said. The second is calibrated along a broken line."""


def said(engine: Engine) -> dict[str, tuple[float, Presence]]:
    sealed = np.load(V2 / "selftest.npz", allow_pickle=False)
    source = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
    view = View("xray", "1.2", (Sample(sealed["xray.input"][0], source),), (source,))
    made = engine.assess("1.2.9", StudyRead((view,), ()))
    assert made.status is Status.REPORTED
    assert made.views[0].scope_score == pytest.approx(0.01927, abs=1e-4), "by the signature"
    return {finding.id: (finding.probability, finding.presence) for finding in made.findings}


def test_the_frozen_bundle_is_the_frozen_one() -> None:
    assert hashlib.sha256((V2 / "bundle.json").read_bytes()).hexdigest() == FROZEN_DIGEST
    assert open_bundle(V2).identity.digest == FROZEN_DIGEST


def test_every_addition_is_read() -> None:
    bundle = open_bundle(V2)
    assert bundle.manifest.format == 2
    assert bundle.manifest.text.weights == ("text.onnx.weights",)
    first, second, third = bundle.findings[:3]
    assert (first.enabled, second.enabled) == (True, False)
    assert second.disabled_because == "AUC on val is 0.612, below 0.70"
    point = first.operating_point
    assert point is not None
    assert (point.sensitivity_target, point.sensitivity.ci, point.specificity.n) == (0.9, (0.7, 0.97), 60)
    assert third.calibration.knots == ((-2.0, -3.0), (0.0, 0.5), (2.0, 1.0))
    assert bundle.scope["xray"].on == "signature"


def test_says_what_it_said_when_it_was_frozen() -> None:
    told = said(Engine.load(V2, providers=["cpu"], threads=1))
    assert told == {name: (pytest.approx(value, abs=1e-4), p) for name, (value, p) in FROZEN.items()}


def test_what_is_off_is_said_when_a_site_asks() -> None:
    told = said(Engine.load(V2, providers=["cpu"], threads=1, enable=["xray.effusion"]))
    assert set(told) == {*FROZEN, "xray.effusion"}


def test_weights_beside_the_graph_are_proven_too(tmp_path: Path) -> None:
    bundle = copy_of(V2, tmp_path / "bundle")
    weights = bundle / "text.onnx.weights"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(BundleIntegrityError, match=r"text\.onnx\.weights is not the file"):
        open_bundle(bundle)
    bundle = copy_of(V2, tmp_path / "other")
    alter_json(bundle / "bundle.json", lambda c: c["text"].pop("weights"))
    with pytest.raises(BundleFormatError, match=r"another file \(text\.onnx\.weights\)"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)
