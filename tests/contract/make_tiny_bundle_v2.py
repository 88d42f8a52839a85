"""Makes `tests/contract/bundle_v2_tiny` from the frozen `bundle_v1_tiny`: all that format 2 adds, once.

It was run once and its result is frozen: every later reader must load that very copy, so this script is kept
to show how it came about, not to be run again. Needs the `train` extra (onnx).

    python tests/contract/make_tiny_bundle_v2.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OLD = Path(__file__).parent / "bundle_v1_tiny"
DISTANCE, KINDS = 3, ["a page of text or a chart", "another part of the body"]
SEED = 20261123


def with_signature(path: Path) -> None:
    """A third output, (N, 5): a linear map of the embedding."""
    model = onnx.load(path)
    width = DISTANCE + len(KINDS)
    weight = np.random.default_rng(SEED).standard_normal((16, width)).astype(np.float32) * 0.1
    weight[:, DISTANCE:] = 0.0
    model.graph.initializer.append(numpy_helper.from_array(weight, "signature_weight"))
    model.graph.node.append(helper.make_node("MatMul", ["embedding", "signature_weight"], ["signature"]))
    model.graph.output.append(helper.make_tensor_value_info("signature", TensorProto.FLOAT, ["N", width]))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def with_weights_beside(path: Path) -> str:
    """The name of the file that holds them."""
    beside = f"{path.name}.weights"
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=beside,
        size_threshold=256,  # what shapes are made of must stand in the graph
    )
    return beside


def main(folder: Path) -> None:
    shutil.copytree(OLD, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest |= {"format": 2, "version": "2.0.0"}
    with_signature(folder / "encoders" / "xray.onnx")
    manifest["text"]["weights"] = [with_weights_beside(folder / "text.onnx")]

    content = json.loads((folder / "findings.json").read_text())
    first, second, third = content["findings"][:3]
    first["operating_point"] = {
        "sensitivity_target": 0.9,
        "chosen_on": "calib",
        "measured_on": "val",
        "sensitivity": {"value": 0.88, "ci": [0.7, 0.97], "n": 34},
        "specificity": {"value": 0.75, "ci": [0.6, 0.86], "n": 60},
    }
    second |= {"enabled": False, "disabled_because": "AUC on val is 0.612, below 0.70"}
    third["calibration"] |= {"method": "monotone", "knots": [[-2.0, -3.0], [0.0, 0.5], [2.0, 1.0]]}
    (folder / "findings.json").write_text(json.dumps(content, indent=1) + "\n")

    scope = json.loads((folder / "scope.json").read_text())
    scope["modalities"]["xray"] = {
        "on": "signature",
        "mean": [0.0] * DISTANCE,
        "components": [],
        "variances": [],
        "residual_variance": 1.0,
        "likeness": {"kinds": KINDS, "distance_limit": 4.0, "limit": 2.0, "scale": 1.0},
        "view_quantile": 0.35,
        "threshold": 1.0,
    }
    (folder / "scope.json").write_text(json.dumps(scope, indent=1) + "\n")

    with np.load(folder / "selftest.npz", allow_pickle=False) as old:
        sealed = {name: old[name] for name in old.files}
    session = onnxruntime.InferenceSession(str(folder / "encoders" / "xray.onnx"))
    (sealed["xray.signature"],) = session.run(["signature"], {"input": sealed["xray.input"]})
    np.savez_compressed(folder / "selftest.npz", allow_pickle=False, **sealed)

    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "bundle.json")
    manifest["files"] = {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    (folder / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
