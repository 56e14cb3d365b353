"""The laws that the tiny network of NumPy can show."""

from xfer.testing.conformance import LAWS
from xfer.testing.laws import graphs
from xfer.testing.laws.changes import padding_is_kept
from xfer.testing.laws.model import channels_are_red_green_blue

# It has no convolution over colours, and few kinds: tests/backends/test_conformance.py breaks these laws.
_NOT = (channels_are_red_green_blue, padding_is_kept, *graphs.LAWS)
FOR_TINY = [law for law in LAWS if law not in _NOT]
