"""The fast losses against their definitions written out."""

import math

import pytest
import torch
from torch import Tensor

from m3bind.losses import alignment, contrastive, imitation

pytestmark = pytest.mark.train


def unit(rows: int, dimension: int = 6) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, dimension), dim=-1)


def naive_one_way(images: Tensor, texts: Tensor, relation: Tensor, scale: float) -> float:
    losses = []
    for i in range(len(images)):
        true = [j for j in range(len(texts)) if relation[i, j] == 1]
        known = [j for j in range(len(texts)) if relation[i, j] >= 0]
        if not true or len(true) == len(known):
            continue
        total = sum(math.exp(scale * float(images[i] @ texts[j])) for j in known)
        shares = [math.exp(scale * float(images[i] @ texts[j])) / total for j in true]
        losses.append(-sum(math.log(s) for s in shares) / len(shares))
    return sum(losses) / len(losses) if losses else 0.0


def test_contrastive_equals_its_definition():
    torch.manual_seed(0)
    images, texts = unit(7), unit(9)
    relation = torch.randint(-1, 2, (7, 9))
    expected = (
        naive_one_way(images, texts, relation, 5.0) + naive_one_way(texts, images, relation.T, 5.0)
    ) / 2
    assert float(contrastive(images, texts, relation, 5.0)) == pytest.approx(expected, rel=1e-5)


def test_contrastive_with_one_positive_each_is_the_loss_of_clip():
    torch.manual_seed(1)
    images, texts = unit(5), unit(5)
    logits, target = 10 * images @ texts.T, torch.arange(5)
    cross = torch.nn.functional.cross_entropy
    expected = (cross(logits, target) + cross(logits.T, target)) / 2
    ours = contrastive(images, texts, torch.eye(5, dtype=torch.int8), 10.0)
    assert torch.allclose(ours, expected, atol=1e-6)


def test_pairs_of_unknown_relation_have_no_say():
    torch.manual_seed(2)
    images, texts = unit(2), unit(3)
    relation = torch.tensor([[1, 0, -1], [0, 1, -1]])
    before = contrastive(images, texts, relation, 5.0)
    texts[2] = unit(1)[0]
    assert torch.equal(before, contrastive(images, texts, relation, 5.0))


def test_a_batch_that_teaches_nothing_gives_zero_and_no_nan():
    images = unit(3).requires_grad_()
    loss = contrastive(images, unit(3), torch.ones(3, 3, dtype=torch.int8), 5.0)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


def test_alignment_equals_the_mean_over_pairs():
    torch.manual_seed(3)
    towers = [unit(4) for _ in range(5)]
    pairs = [
        float((towers[a] - towers[b]).pow(2).sum(dim=1).mean()) for a in range(5) for b in range(a + 1, 5)
    ]
    assert float(alignment(towers)) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)
    assert float(alignment([towers[0], towers[0]])) == pytest.approx(0.0, abs=1e-7)


def test_imitation_is_zero_only_for_the_same():
    one = unit(4)
    assert float(imitation(one, one)) == 0.0
    assert float(imitation(one, -one)) == pytest.approx(4.0, rel=1e-5)
