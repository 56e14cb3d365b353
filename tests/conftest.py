pytest_plugins = ["xfer.testing.fixtures"]
