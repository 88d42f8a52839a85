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
    sampler, random = Sampler(found, caption_pool("xray")), np.random.default_rng(1)
    for _ in range(10):
        batch = sampler.batch(16, random)
        assert len({found[i].dataset for i in batch.images}) == 1
        assert batch.relation.shape == (16, len(batch.texts))
        assert (batch.relation == 1).any(axis=1).all()
        assert (batch.relation == 0).any(axis=1).all()


def test_every_caption_meets_its_own_contradiction(found):
    pool = caption_pool("xray")
    batch = Sampler(found, pool).batch(16, np.random.default_rng(2))
    topics = [frozenset(pool[t].states) for t in batch.texts]
    values = [tuple(sorted(pool[t].states.items())) for t in batch.texts]
    for topic in topics:
        assert len({v for v, t in zip(values, topics, strict=True) if t == topic}) > 1


def test_rare_findings_are_seen(found):
    sampler, random = Sampler(found, caption_pool("xray")), np.random.default_rng(3)
    seen = sum((sampler.batch(32, random).images == 7).sum() for _ in range(60))
    assert seen > 2 * 60 * 32 / 200


def test_the_seed_decides(found):
    pool = caption_pool("xray")
    sampler = Sampler(found, pool)  # one sampler: it remembers nothing of the batch before
    one, same, other = (sampler.batch(8, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.texts, same.texts)
    assert not np.array_equal(one.images, other.images)


def test_balance_shows_rare_findings_less_often(found):
    pool = caption_pool("xray")

    def seen(balance):
        sampler, random = Sampler(found, pool, balance), np.random.default_rng(3)
        batches = [sampler.batch(32, random) for _ in range(60)]
        said = [pool[t].states for batch in batches for t in batch.texts]
        return (
            sum((batch.images == 7).sum() for batch in batches),
            sum(states.get(IDS[-1]) == 1 for states in said),
        )

    images, texts = seen(0.0)
    fewer_images, fewer_texts = seen(1.0)
    assert fewer_images < images
    assert fewer_texts < texts
