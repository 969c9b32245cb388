"""Batches: every frame once, no small rest, balanced classes, an order that can be repeated."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from hpiclock.config.schema import AugmentConfig
from hpiclock.training import batches as module

STILL = AugmentConfig(flip=False, rotate_deg=0)


def which(batch):
    """The numbers of the frames in a batch, from their grey levels."""
    return np.round((batch.images[:, 0, 0, 0].numpy() * 0.25 + 0.5) * 255).astype(int).tolist()


def epoch(batches, number=1, *, seed=0, balanced=False):
    return [which(batch) for batch in batches.epoch(number, seed=seed, augment=STILL, balanced=balanced)]


def frames_of(dealt):
    return list(chain.from_iterable(dealt))


def test_every_frame_comes_once_an_epoch_in_batches_of_like_size(make_plate):
    batches = make_plate([0, 1] * 25).batches(batch_size=16)
    dealt = epoch(batches)
    assert set(batches.sizes) == {len(numbers) for numbers in dealt}
    assert [len(batch) for batch in dealt] == [13, 13, 12, 12]
    assert len(batches) == 4
    assert sorted(frames_of(dealt)) == list(range(50))


@pytest.mark.parametrize(("n", "batch_size"), [(5, 2), (3, 2), (9, 8), (7, 3), (33, 32)])
def test_no_frame_is_left_alone(make_plate, n, batch_size):
    batches = make_plate([0] * n).batches(batch_size)
    sizes = [len(batch) for batch in epoch(batches)]
    assert sum(sizes) == n
    assert min(sizes) >= 2
    assert max(sizes) <= batch_size + 1
    assert min(sizes) == batches.smallest


def test_pixels_labels_and_hours_stay_together(make_plate):
    labels = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1]
    batches = make_plate(labels, hours=[10.0 * i for i in range(10)]).batches()
    for deal in (batches.epoch(3, seed=1, augment=STILL, balanced=False), batches.in_order()):
        for batch in deal:
            numbers = which(batch)
            assert batch.label.tolist() == [labels[i] for i in numbers]
            assert batch.time_target_h.tolist() == [10.0 * i for i in numbers]
            assert batch.images.shape == (len(numbers), 1, 16, 16)


def test_both_classes_come_equally_often_when_balanced(make_plate):
    labels = [0] * 40 + [1] * 9
    numbers = np.array(frames_of(epoch(make_plate(labels).batches(8), balanced=True)))
    infected = numbers >= 40
    assert len(numbers) == 49
    assert abs(int(infected.sum()) - 24.5) == 0.5
    times = np.bincount(numbers[infected] - 40, minlength=9)
    assert times.min() >= 2  # none twice more often than another
    assert times.max() <= 3
    assert np.bincount(numbers[~infected]).max() == 1
    assert not infected[:24].all()  # shuffled


def test_balancing_one_class_takes_every_frame(make_plate):
    assert sorted(frames_of(epoch(make_plate([1] * 10).batches(), balanced=True))) == list(range(10))


def test_the_order_depends_on_seed_and_epoch_alone(make_plate):
    plate = make_plate([0, 1] * 20)
    first = epoch(plate.batches())
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    again = plate.batches()
    epoch(again, 7)
    assert epoch(again) == first
    assert epoch(again, 2) != first
    assert epoch(again, seed=1) != first


def test_the_changes_depend_on_seed_and_epoch_alone(make_plate):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16), dtype=np.uint8)
    augment = AugmentConfig(quarter_turns=True, brightness=0.2, noise=0.1, blur_px=1)

    def pixels(number):
        batches = make_plate([0, 1] * 5, images=images).batches()
        return torch.cat(
            [b.images.clone() for b in batches.epoch(number, seed=4, augment=augment, balanced=False)]
        )

    assert torch.equal(pixels(1), pixels(1))
    assert not torch.equal(pixels(1), pixels(2))


def test_reading_goes_in_the_order_of_the_table_and_shows_missing_labels(make_plate, monkeypatch):
    monkeypatch.setattr(module, "READING_PIXELS", 3 * 16 * 16)
    plate = make_plate([0, None, 1, None, 1, 0, 1], hours=[0, np.nan, 2, np.nan, 4, 5, 6])
    batches = plate.batches(batch_size=2)
    read = [(which(b), b.label.tolist()) for b in batches.in_order()]
    assert [numbers for numbers, _ in read] == [[6, 5, 4], [3, 2, 1], [0]]
    assert [labels for _, labels in read] == [[1, 0, 1], [-1, 1, -1], [0]]


def test_reading_takes_no_smaller_batches_than_training(make_plate, monkeypatch):
    monkeypatch.setattr(module, "READING_PIXELS", 1)
    sizes = [len(b.label) for b in make_plate([0] * 10).batches(batch_size=5).in_order()]
    assert sizes == [5, 5]


@pytest.fixture
def with_context(make_plate):
    plate = make_plate([0, 1, 0, 1, 0, 1], size=2)
    earlier = np.maximum(np.arange(6)[:, None] - [0, 1, 3], 0)
    return plate._replace(cache=replace(plate.cache, context=earlier))


def test_earlier_frames_are_read_with_their_frame(with_context):
    (batch,) = with_context.batches(6).in_order()
    grey = (batch.images[..., 0, 0] * 0.25 + 0.5) * 255  # (batch, frames)
    assert grey.round().int().tolist() == [[5, 4, 2], [4, 3, 1], [3, 2, 0], [2, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_all_frames_of_a_field_are_changed_in_one_way(with_context):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)
    images[:] = images[0]  # one picture: what differs was changed differently
    cache = replace(with_context.cache, images=images)
    batches = with_context._replace(cache=cache).batches(3)
    augment = AugmentConfig(quarter_turns=True, contrast=0.3, brightness=0.2, blur_px=2)
    for batch in batches.epoch(1, seed=0, augment=augment, balanced=False):
        assert batch.images.shape == (3, 3, 16, 16)
        assert torch.equal(batch.images, batch.images[:, :1].expand_as(batch.images))
        assert not torch.equal(batch.images[0], batch.images[1])
