"""Frames kept on the device: the same batches as from the CPU, to the last bit where nothing is rounded.

The arithmetic is the same on every device, so it is tested on the CPU's.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpiclock.config.schema import AugmentConfig
from hpiclock.training import batches as module
from hpiclock.training import gpu_frames
from hpiclock.training.augment import augment_frames, draw_augmentation, normalize_frames
from hpiclock.training.gpu_frames import GpuFrames, fits_on_device

CPU = torch.device("cpu")
EXACT = AugmentConfig(quarter_turns=True, rotate_deg=45, brightness=0.3, contrast=0.3)


def both_ways(augment, *, n=40, size=33):
    """The same frames and draws: made by the CPU's pass, and by the device's."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (n + 5, size, size), dtype=np.uint8)
    rows = rng.permutation(n + 5)[:n]
    draws = draw_augmentation(n, augment, rng)
    out = np.empty((n, size, size), np.float32)
    augment_frames(images, rows, draws, out, np.random.default_rng(0))
    there = GpuFrames(images, rows, CPU)
    return out, there.augmented(np.arange(n), draws, np.random.default_rng(0)).numpy()


@pytest.mark.parametrize("size", [33, 64])
def test_flips_turns_and_grey_levels_are_the_cpus_bit_for_bit(size):
    here, there = both_ways(EXACT, size=size)
    assert np.abs(here - there).max() == 0


def test_unchanged_frames_are_the_cpus_bit_for_bit():
    images = np.random.default_rng(0).integers(0, 256, (6, 17, 17), dtype=np.uint8)
    rows = np.array([4, 0, 5])
    expected = normalize_frames(images, rows[[2, 0]], np.empty((2, 17, 17), np.float32))
    assert np.abs(GpuFrames(images, rows, CPU).plain(np.array([2, 0])).numpy() - expected).max() == 0


@pytest.mark.parametrize("blur_px", [1.0, 5.0])  # 5: the kernel is longer than the frame
def test_blur_is_the_cpus_but_for_rounding(blur_px):
    here, there = both_ways(AugmentConfig(blur_px=blur_px), size=16)
    np.testing.assert_allclose(there, here, atol=1e-5)


def test_noise_is_each_frames_own_has_the_sd_asked_for_and_can_be_repeated():
    still = AugmentConfig(flip=False, rotate_deg=0)
    images = np.full((3, 64, 64), 128, np.uint8)
    draws = draw_augmentation(3, still, np.random.default_rng(0))._replace(noise=np.array([0.0, 0.05, 0.2]))
    there = GpuFrames(images, np.arange(3), CPU)
    first, again, other = (
        there.augmented(np.arange(3), draws, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(first.std((1, 2)) * 0.25, [0.0, 0.05, 0.2], rtol=0.05, atol=1e-6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_large_plates_are_copied_in_pieces(monkeypatch):
    monkeypatch.setattr(gpu_frames, "CHUNK", 2 * 8 * 8)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8), dtype=np.uint8)
    rows = np.array([6, 1, 3, 0, 2])
    there = GpuFrames(images, rows, CPU)
    assert np.array_equal(there.frames.numpy().reshape(-1, 8, 8), images[rows])


@pytest.mark.parametrize(("free", "answer"), [(4000, True), (3999, False)])
def test_a_gpu_keeps_frames_that_fill_a_quarter_of_its_free_memory(monkeypatch, free, answer):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10_000))
    assert fits_on_device(1000, torch.device("cuda")) is answer
    assert not fits_on_device(0, CPU)


def test_batches_from_the_device_are_those_from_the_cpu(make_plate, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16), dtype=np.uint8)

    def dealt():
        batches = make_plate([0, 1, None, 1, 0] * 2, images=images).batches()
        two = [batches.epoch(k, seed=4, augment=EXACT, balanced=False) for k in (1, 2)]
        return [[part.clone() for part in batch] for one in two for batch in one]

    here = dealt()
    monkeypatch.setattr(module, "fits_on_device", lambda n_bytes, _: n_bytes == images.nbytes)
    monkeypatch.setattr(module, "augment_frames", None)  # the CPU has no more to do
    for expected, got in zip(here, dealt(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_earlier_frames_lie_on_the_device_once(make_plate, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)
    plate = make_plate([0, 1] * 3, images=images)
    earlier = np.maximum(np.arange(6)[:, None] - [0, 2], 0)
    plate = plate._replace(cache=replace(plate.cache, context=earlier), frames=plate.frames.head(4))

    def dealt():
        batches = plate.batches()
        one = [batch.images.clone() for batch in batches.epoch(1, seed=4, augment=EXACT, balanced=False)]
        return one + [batch.images.clone() for batch in batches.in_order()]

    here = dealt()
    monkeypatch.setattr(module, "fits_on_device", lambda n_bytes, _: n_bytes == images.nbytes)
    monkeypatch.setattr(module, "augment_frames", None)
    assert all(torch.equal(a, b) for a, b in zip(here, dealt(), strict=True))


def test_frames_read_a_second_time_come_from_the_device(make_plate, monkeypatch):
    monkeypatch.setattr(module, "fits_on_device", lambda *_: True)
    batches = make_plate([0, 1] * 3).batches()
    first = [batch.images.clone() for batch in batches.in_order()]
    monkeypatch.setattr(module, "normalize_frames", None)
    second = [batch.images for batch in batches.in_order()]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
