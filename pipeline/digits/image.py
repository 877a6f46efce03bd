"""What is an image of a digit? ``uint8 (28, 28)``, 0 = paper and 255 = ink, of one of ten classes."""

SIDE = 28  # pixels
CLASSES = 10
