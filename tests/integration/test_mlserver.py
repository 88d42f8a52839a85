"""The repository of `m3bind-export triton` behind a server of others, and a node that uses it.

MLServer and what it needs are 44 packages, fetched in eight minutes when that was measured, and so on request
only: M3BIND_TEST_MLSERVER=1. `tests/unit/dicom_node/inference/test_remote.py` holds what always runs.
"""

import os

import numpy as np
import pytest

if os.environ.get("M3BIND_TEST_MLSERVER") != "1":
    pytest.skip("fetches MLServer: set M3BIND_TEST_MLSERVER=1", allow_module_level=True)
pytest.importorskip("tritonclient.grpc", reason="needs the remote extra")

from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine
from dicom_node.errors import InferenceError
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.remote import ModelServer
from export.triton import write_repository
from tests.support.bundles import TINY
from tests.support.model_server import mlserver

pytestmark = [pytest.mark.train, pytest.mark.timeout(1200)]


def test_mlserver_serves_the_repository_to_a_node(tmp_path):
    bundle = open_bundle(TINY)
    write_repository(bundle, tmp_path / "repository")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with mlserver(tmp_path / "repository", scratch) as url:
        server = ModelServer(url, 20.0)
        for name, part in bundle.manifest.encoders.items():
            pixels = np.random.default_rng(0).normal(size=(20, *part.input_shape))
            given = {"input": pixels.astype(np.float32)}
            here = OnnxRunner(bundle.path(part.file), threads=1).run(given)
            there = server.model(name).run(given)
            for output, values in here.items():
                np.testing.assert_allclose(there[output], values, atol=1e-6)
        with pytest.raises(InferenceError, match="refused to run mri"):
            server.model("mri").run({"input": np.zeros((1, 3, 32, 32), np.float32)})
        assert Engine.load(TINY, server=server).providers == (url,)
        server.close()
