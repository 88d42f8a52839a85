import onnx
import pytest
from onnx import AttributeProto as Attribute
from onnx import TensorProto

from dicom_node.inference.weights import external_files
from tests.support.bundles import TINY

HELD = TensorProto(name="held", raw_data=b"1234")
FAR = TensorProto(name="far", data_location=TensorProto.EXTERNAL)
NAMED = TensorProto(
    name="named", external_data=[onnx.StringStringEntryProto(key="location", value="../w.bin")]
)
"""Without the location flag: ONNX Runtime would not look for it, but a later one might."""


def with_initialiser(tensor: TensorProto) -> onnx.GraphProto:
    return onnx.GraphProto(initializer=[HELD, tensor])


def with_attribute(attribute: Attribute) -> onnx.GraphProto:
    return onnx.GraphProto(node=[onnx.NodeProto(op_type="X", attribute=[attribute])])


NOWHERE = TensorProto(
    name="nowhere", external_data=[onnx.StringStringEntryProto(key="offset", value="w.bin")]
)


@pytest.mark.parametrize(("tensor", "name"), [(FAR, ""), (NAMED, "../w.bin"), (NOWHERE, "")])
def test_found_wherever_a_tensor_may_stand(tensor: TensorProto, name: str) -> None:
    sparse = onnx.SparseTensorProto(values=HELD, indices=tensor)
    deep = with_attribute(Attribute(g=with_attribute(Attribute(graphs=[with_initialiser(tensor)]))))
    node = with_attribute(Attribute(t=tensor)).node[0]
    for model in (
        onnx.ModelProto(graph=with_initialiser(tensor)),
        onnx.ModelProto(graph=onnx.GraphProto(sparse_initializer=[sparse])),
        onnx.ModelProto(graph=with_attribute(Attribute(t=tensor))),
        onnx.ModelProto(graph=with_attribute(Attribute(tensors=[HELD, tensor]))),
        onnx.ModelProto(graph=with_attribute(Attribute(sparse_tensor=sparse))),
        onnx.ModelProto(graph=with_attribute(Attribute(sparse_tensors=[sparse]))),
        onnx.ModelProto(graph=deep),
        onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[node])]),
        onnx.ModelProto(functions=[onnx.FunctionProto(name="f", attribute_proto=node.attribute)]),
        onnx.ModelProto(training_info=[onnx.TrainingInfoProto(algorithm=with_initialiser(tensor))]),
    ):
        assert external_files(model.SerializeToString()) == {name}


def test_weights_within_are_no_external_data() -> None:
    here = TensorProto(name="here", raw_data=b"\x72\x01", data_location=TensorProto.DEFAULT)
    assert not external_files(onnx.ModelProto(graph=with_initialiser(here)).SerializeToString())
    for path in sorted(TINY.rglob("*.onnx")):
        assert not external_files(path.read_bytes()), path.name


@pytest.mark.parametrize("raw", [b"{", b"\x3a\x05ab", b"\xff" * 12, b"\x00\x01", b"\x3b", b"\x3d\x01"])
def test_what_is_no_protocol_buffer_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"wire type|beyond its message|without an end"):
        external_files(raw)
