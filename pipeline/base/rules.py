"""What is expected of data, and how is a person told that it was not met?"""

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """An expectation of Great Expectations, and the words about it."""

    key: str
    """what code knows it by"""
    name: str
    """what people know it by"""
    expectation: Any
    advice: str


def no_blank() -> Rule:
    """Of images of whatever kind."""
    from great_expectations import expectations as gxe

    return Rule(
        "no_blank",
        "no blank or constant image",
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="maximum", column_B="minimum"),
        "remove these images",
    )
