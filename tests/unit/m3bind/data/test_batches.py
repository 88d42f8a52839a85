"""What meets in one batch."""

from types import SimpleNamespace

import numpy as np
import pytest

from m3bind.data.batches import Sampler
from m3bind.data.captions import caption_pool
from m3bind.data.catalogue import findings_of

IDS = [f.id for f in findings_of("xray")]


@pytest.fixture
def found():
    random = np.random.default_rng(0)
    made = []
    for i in range(200):
        labels = {f: int(random.random() < 0.3) for f in IDS}
        labels[IDS[-1]] = int(i == 7)  # one example alone has the rare finding
        made.append(SimpleNamespace(modality="xray", dataset=("nih", "kermany")[i % 2], labels=labels))
    return made


def test_a_batch_is_of_one_data_set_and_every_image_has_a_true_and_a_false_text(found):
    sampler = Sampler(found, caption_pool("xray"), seed=1)
    for _ in range(10):
        batch = sampler.batch(16)
        assert len({found[i].dataset for i in batch.images}) == 1
        assert batch.relation.shape == (16, len(batch.texts))
        assert (batch.relation == 1).any(axis=1).all()
        assert (batch.relation == 0).any(axis=1).all()


def test_every_caption_meets_its_own_contradiction(found):
    pool = caption_pool("xray")
    batch = Sampler(found, pool, seed=2).batch(16)
    topics = [frozenset(pool[t].states) for t in batch.texts]
    values = [tuple(sorted(pool[t].states.items())) for t in batch.texts]
    for topic in topics:
        assert len({v for v, t in zip(values, topics, strict=True) if t == topic}) > 1


def test_rare_findings_are_seen(found):
    sampler = Sampler(found, caption_pool("xray"), seed=3)
    seen = sum((sampler.batch(32).images == 7).sum() for _ in range(60))
    assert seen > 2 * 60 * 32 / 200


def test_the_seed_decides(found):
    pool = caption_pool("xray")
    one, same, other = (Sampler(found, pool, seed).batch(8) for seed in (4, 4, 5))
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.texts, same.texts)
    assert not np.array_equal(one.images, other.images)
