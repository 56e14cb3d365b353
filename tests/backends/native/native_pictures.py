"""Pictures made for a test, and how they are read by a framework's own pipeline."""

import numpy as np
from PIL import Image

SIZES = [(61, 83), (83, 61), (64, 64), (17, 120), (33, 32), (391, 32)]  # height, width; the last rounds ill


def saved(image, path):
    image.save(path)
    return str(path)


def picture(pixels, path):
    return saved(Image.fromarray(np.asarray(pixels, np.uint8)), path)


def read(native, files, transforms, parts, seed=0, workers=2):
    return list(native(files, np.arange(len(files)), transforms, [np.array(part) for part in parts], seed, workers))
