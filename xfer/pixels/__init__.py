"""From a file to pixels: reading, geometry, colour. The key of kept features covers every file in here."""
