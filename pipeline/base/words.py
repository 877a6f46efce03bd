"""How is a number of things told to people?"""


def counted(number: int, one: str, more: str = "") -> str:
    """The number and what it counts, in the singular or the plural (``more`` unless an s makes it): 1 image, 1,024
    images."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
