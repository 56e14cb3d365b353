"""`python -m xfer` is `xfer`."""

from xfer.cli import main

main()
