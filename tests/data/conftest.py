import pytest

from xfer.data.dataset import open_dataset


@pytest.fixture
def opened(tmp_path):
    return lambda source, **options: open_dataset(str(source), cache=tmp_path / "cache", workers=1, **options)
