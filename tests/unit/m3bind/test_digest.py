"""What counts as another run, and what does not."""

import pytest
import torch

from m3bind.config import load_recipe
from m3bind.digest import code_digest, features_digest, pretrain_digest

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
