"""Whatever reads the pictures, a network that is trained on them ends with the same bits."""

import pytest

from xfer.formats.files import digest
from xfer.recipe.load import as_recipe
from xfer.system.shared import CAN_SHARE
from xfer.system.worker_pool import close_idle
from xfer.testing.fixtures import require, targets
from xfer.testing.pictures import write_class_folders
from xfer.training.run import fit, prepare

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="this system has no memory and no counters without a name")


@pytest.fixture(params=[target for target in targets() if target.kind == "cpu"], ids=str)
def target(request):
    return require(request.param.backend, request.param.kind)


def test_training_and_validation_keep_every_bit(tmp_path, target):
    """Memory that is used again before a step has read it would show here."""
    backend, device = target
    root = write_class_folders(tmp_path / "pictures", counts=(16, 3))
    usual = {"data": str(root), "weights": "random", "epochs": 3, "size": 32, "batch_size": 4, "views": "fresh"}
    net = {"arch": "tiny"} if backend.name == "numpy" else {"arch": "convnet"}
    ends = []
    for readers in ("threads", "processes"):
        reading = {"train_from": "stem", "data.workers": 2, "data.readers": readers}
        recipe = as_recipe(None, usual | net | reading)
        prepared = prepare(recipe, backend, device)
        epochs = list(fit(prepared))
        ends.append((digest(prepared.net.export()), [(e.epoch.train_loss, e.epoch.val_loss) for e in epochs]))
    close_idle()
    assert ends[0] == ends[1]
