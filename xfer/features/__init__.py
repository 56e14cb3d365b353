"""The boundary cache: what a frozen prefix makes of each view of a picture, computed once and kept."""
