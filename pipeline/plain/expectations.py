"""What is expected of pictures of anything: no polarity, no ink; levels, and something to be seen."""

from pipeline.base.params import Validate
from pipeline.base.rules import Rule, no_blank

LEAST_HIGHEST = 64  # grey level that some pixel of a split must reach: one of 1 means that the levels are 0 to 1


def rules(params: Validate) -> list[Rule]:
    from great_expectations import expectations as gxe

    return [
        Rule(
            "levels_reach_up",
            "levels go up to 255",
            gxe.ExpectColumnMaxToBeBetween(column="maximum", min_value=LEAST_HIGHEST, max_value=255),
            "bring the pixels to 0–255; a highest value of 1 means that they were scaled to 0–1",
        ),
        no_blank(),
    ]
