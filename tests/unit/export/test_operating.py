import pytest

pytest.importorskip("torch", reason="needs the train extra")

from export.operating import kind_of, load_kinds
from m3bind.data.catalogue import load_findings

pytestmark = pytest.mark.train


def test_every_named_finding_is_in_the_catalogue_and_of_one_kind() -> None:
    named = [identifier for kind in load_kinds() for identifier in kind.findings or ()]
    assert len(named) == len(set(named))
    assert set(named) <= {spec.id for spec in load_findings() if spec.code is not None}


def test_sensitivities_fall_and_are_ones() -> None:
    for kind in load_kinds():
        assert list(kind.sensitivities) == sorted(kind.sensitivities, reverse=True)
        assert all(0.5 <= each < 1 for each in (*kind.sensitivities, kind.least_specificity))
        assert kind.why


def test_what_nobody_names_is_a_single_finding() -> None:
    assert kind_of("xray.pneumonia").name == "first look"
    assert kind_of("xray.no_such").name == "single finding"
