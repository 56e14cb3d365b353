"""The laws that the tiny network of NumPy can show."""

from xfer.testing.conformance import LAWS
from xfer.testing.laws import graphs
from xfer.testing.laws.changes import padding_is_kept_or_refused, stages_have_the_blocks_asked_for
from xfer.testing.laws.model import channels_are_red_green_blue

# It has no convolution over colours, is no ResNet and no graph: tests/backends/test_conformance.py breaks these laws.
_NOT = (channels_are_red_green_blue, stages_have_the_blocks_asked_for, padding_is_kept_or_refused, *graphs.LAWS)
FOR_TINY = [law for law in LAWS if law not in _NOT]
