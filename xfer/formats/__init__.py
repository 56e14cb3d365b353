"""Weight files of three frameworks, read and written without any of them. Nothing in a file is ever executed.

Every `parse_*` takes the bytes of a whole file and raises ValueError, and only that, whatever the bytes are; every
`read_*` takes a path and raises WeightsError. The arrays are copies: writable, C-contiguous, of native byte order;
bfloat16, which NumPy lacks, becomes float32.
"""
