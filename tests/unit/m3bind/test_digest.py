"""What counts as another run, and what does not."""

import pytest
import torch

from m3bind.config import load_recipe
from m3bind.data.groups import Group
from m3bind.digest import bind_digest, code_digest, distil_digest, features_digest, pretrain_digest

pytestmark = pytest.mark.train


def test_code_counts_comments_and_documentation_do_not(tmp_path):
    path = tmp_path / "bind.py"

    def digest(text):
        path.write_text(text)
        return code_digest(tmp_path)

    plain = digest("def f(x):\n    return x + 1\n")
    assert digest('"""Doc."""\n\ndef f(x):  # why\n    """Doc."""\n    return (x + 1)\n') == plain
    assert digest("def f(x):\n    return x + 2\n") != plain


@pytest.mark.data
def test_only_what_decides_a_modality_counts():
    from m3bind.towers.waveform import WaveformTower

    recipe = load_recipe("mini")

    def digest(**changes):
        return pretrain_digest(recipe.model_copy(update=changes), "ecg")

    plain = digest()
    assert digest() == plain
    assert digest(version="9", bundle=None, bind=recipe.bind.model_copy(update={"steps": 1})) == plain
    assert digest(seed=recipe.seed + 1) != plain
    assert digest(pretrain=recipe.pretrain.model_copy(update={"batch": 3})) != plain
    assert digest(machine=recipe.machine.model_copy(update={"precision": "no"})) != plain
    assert digest(machine=recipe.machine.model_copy(update={"snapshot": 1})) == plain

    tower = WaveformTower(4, (4,), 3, 0.0)
    before = features_digest(recipe, "ecg", tower, 1)
    with torch.no_grad():
        tower.projection.weight += 1
    assert features_digest(recipe, "ecg", tower, 1) == before  # binding moves projections: features stand
    with torch.no_grad():
        next(tower.stages.parameters()).add_(1)
    assert features_digest(recipe, "ecg", tower, 1) != before


@pytest.mark.data
def test_what_a_shared_sentence_is_true_of_counts(tmp_path, monkeypatch):
    whole = load_recipe("mini")
    recipe = whole.model_copy(update={"modalities": {"ct": whole.modalities["ct"]}})
    before = bind_digest(recipe, tmp_path), distil_digest(recipe, tmp_path), pretrain_digest(recipe, "ct")
    group = Group("malignancy", "malignant tumour", frozenset({"ct.benign_nodule", "xray.mass"}))
    monkeypatch.setattr("m3bind.digest.load_groups", lambda: (group,))
    after = bind_digest(recipe, tmp_path), distil_digest(recipe, tmp_path), pretrain_digest(recipe, "ct")
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert after[2] == before[2]  # the first stage shows no shared sentence
