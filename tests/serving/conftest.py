import pytest

import xfer
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere(declare):
    """The NumPy backend is the one that wrote the run."""


@pytest.fixture(scope="module")
def run(tmp_path_factory, undrawn_module):
    folder = tmp_path_factory.mktemp("serve")
    data = write_class_folders(folder / "pictures", ("ants & bées", "bees"), (6, 6), (40, 48))
    recipe = {"data": str(data), "arch": "tiny", "weights": "random", "epochs": 2, "size": 32, "lr": 0.05}
    return xfer.train(None, NumpyBackend(), output=folder / "run", **recipe)


@pytest.fixture(scope="module")
def files(run):
    return sorted((run.path.parent / "pictures" / "val").rglob("*.png"))


@pytest.fixture(scope="module")
def service(run):
    from service import Service  # its packages may not be there

    service = Service(run.path)
    yield service
    service.close()
