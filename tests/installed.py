"""The NumPy backend where processes that are started find it: as a package that declares it."""


def numpy_installed(folder):
    """`folder` as a folder of packages, to be put into PYTHONPATH."""
    record = folder / "numpy_backend-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy-backend\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[xfer.backends]\nnumpy = xfer.testing.numpy_backend:NumpyBackend\n")
    return folder
