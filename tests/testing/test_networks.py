"""Networks of the catalogue, computed by the formulas alone, give what torchvision's own give."""

import numpy as np
import pytest

from xfer.archs import norm_layers
from xfer.graphs import packaged
from xfer.testing.kinds import evaluate
from xfer.testing.kit import random_weights

SMALL = ["squeezenet1_0", "shufflenet_v2_x0_5", "mobilenet_v3_small"]
CLASSES = 5
SIZE = (48, 40)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_is_torchvisions(name):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed: nothing to compare with")
    import torch

    graph = packaged.load(name).with_classes(CLASSES)
    weights = random_weights(graph.weights, seed=0)
    for layer in norm_layers(weights):  # behind all of those that halve, little of a picture would be left
        weights[f"{layer}.weight"] *= 2
    with torch.device("meta"):  # first values of its own would take most of the time
        model = models.get_model(name, weights=None, num_classes=CLASSES).eval()
    # What is there in training alone, as auxiliary heads, has no values, and is not computed.
    model.load_state_dict({n: torch.from_numpy(w).double() for n, w in weights.items()}, strict=False, assign=True)
    images = np.random.default_rng(0).normal(size=(2, 3, *SIZE))
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).numpy()
    logits = evaluate(graph, weights, images)[graph.nodes[-1].name]
    assert logits.shape == wanted.shape == (2, CLASSES)
    assert np.abs(logits - wanted).max() <= 1e-9 * np.abs(wanted).max()
    assert not np.allclose(wanted[0], wanted[1], rtol=1e-3), "random weights let little of a picture through"
