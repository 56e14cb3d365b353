"""Slow work as whoever watches sees it: on a terminal, in a notebook, or in lines now and then."""
