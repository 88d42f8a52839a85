"""An example that is not in the archive."""

import numpy as np

from dicom_node.records import BundleIdentity
from dicom_node.search.centres import Centres
from dicom_node.search.example import Seen, given_example
from tests.support.questions import BUNDLE, embedded, study
from tests.support.search_index import IndexInMemory


def centres(*shown: str) -> Centres:
    index = IndexInMemory()
    for number, words in enumerate(shown, start=1):
        index.add(study(number, "xray", {"xray.pneumonia": 0.5}, shows=words))
    identity: BundleIdentity = BUNDLE
    return Centres(index, identity.digest)


def test_it_points_away_from_the_centre_of_its_modality() -> None:
    vector = embedded(["pneumonia"])[0]
    example = given_example(centres("effusion", "edema"), [Seen("xray", vector)])
    assert (example.study_uid, example.modalities) == (None, ("xray",))
    assert float(example.towards @ vector) > 0.5
    assert float(example.towards @ embedded(["effusion"])[0]) < 0.0


def test_one_that_is_its_own_centre_still_has_a_direction() -> None:
    vector = embedded(["pneumonia"])[0]
    for shown in (["pneumonia"], ["pneumonia", "pneumonia"], []):
        example = given_example(centres(*shown), [Seen("xray", vector)])
        assert np.allclose(example.towards, vector, atol=1e-5)
