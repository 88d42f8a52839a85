"""What meets in one batch."""

from types import SimpleNamespace

import numpy as np
import pytest

from m3bind.data.batches import Sampler
from m3bind.data.captions import caption_pool, shared_captions
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


def test_a_part_of_the_images_brings_a_sentence_that_every_modality_shares(found):
    pool = caption_pool("xray") + shared_captions("xray")
    common = {i for i, c in enumerate(pool) if any(s.startswith("shared:") for s in c.states)}

    def part(share):
        sampler, random = Sampler(found, pool, common=share), np.random.default_rng(5)
        batches = [sampler.batch(16, random) for _ in range(20)]
        for batch in batches:
            assert (batch.relation == 1).any(axis=1).all()
            for column, text in enumerate(batch.texts):  # its truth is that of the labels
                if pool[text].states == {"shared:oedema": 1}:
                    told = [found[i].labels["xray.pulmonary_edema"] for i in batch.images]
                    assert batch.relation[:, column].tolist() == told
        return np.mean([len(common & set(b.texts.tolist())) / len(b.texts) for b in batches])

    assert part(0.1) < 0.35 < part(0.8)


def test_no_image_brings_a_shared_sentence_where_none_is_asked_for(found):
    pool = caption_pool("xray") + shared_captions("xray")
    sampler, random = Sampler(found, pool), np.random.default_rng(5)
    drawn = [sampler.batch(16, random) for _ in range(20)]
    assert all(s.startswith("xray.") for b in drawn for t in b.texts for s in pool[t].states)


def test_a_pool_without_shared_sentences_draws_what_it_always_drew(found):
    pool = caption_pool("xray")
    plain, asked = Sampler(found, pool), Sampler(found, pool, common=0.5)
    one, other = (s.batch(16, np.random.default_rng(6)) for s in (plain, asked))
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.texts, other.texts)
