"""What a data set is, and how one is refused, wherever its pictures come from."""

import pytest

from xfer.errors import DataError


def facts(data):
    """Of both splits: classes, labels and digests in their order, and the last parts of the names."""
    ends = [[file.rsplit("/", 1)[1] for file in split.files] for split in (data.train, data.val)]
    return data.classes, [(s.labels.tolist(), s.digests.tobytes()) for s in (data.train, data.val)], ends


def refused(opened, source, **options):
    with pytest.raises(DataError) as error:
        opened(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)
