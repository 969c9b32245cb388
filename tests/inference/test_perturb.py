"""Changed images of frames that are read together: each as it would be alone, or in another order."""

import pytest
import torch

from hpiclock.inference.perturb import PERTURBATIONS, changes_for, perturb


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("change", PERTURBATIONS)
def test_each_frame_is_changed_as_it_would_be_alone(images, change):
    together = perturb(images, change)
    alone = torch.cat([perturb(images[:, i : i + 1], change) for i in range(3)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.equal(together, images)


def test_orders_of_the_frames(images):
    a, b, c = images.unbind(1)
    orders = {
        "one frame repeated": (a, a, a),
        "earlier frames exchanged": (a, c, b),
        "order reversed": (c, b, a),
    }
    for change, expected in orders.items():
        assert torch.allclose(perturb(images, change), torch.stack(expected, 1), atol=1e-6)


def test_orders_are_asked_where_there_are_some():
    assert changes_for(1) == tuple(PERTURBATIONS)
    assert changes_for(2)[-2:] == ("one frame repeated", "order reversed")
    assert len(changes_for(3)) == len(PERTURBATIONS) + 3
