"""What is expected of images of ink on paper: its levels, how much of it there is, and which is which."""

from pipeline.base.params import Validate
from pipeline.base.rules import Rule, no_blank

MOSTLY_PAPER = 0.995  # of the images must have a rim of paper: a few touch it, an inverted set has none


def rules(params: Validate) -> list[Rule]:
    from great_expectations import expectations as gxe

    low, high = params.mean_pixel
    least, most = params.ink_share
    return [
        Rule(
            "paper_reaches_0",
            "paper reaches 0",
            gxe.ExpectColumnMinToBeBetween(column="minimum", min_value=0, max_value=0),
            "bring the pixels to 0 = paper",
        ),
        Rule(
            "ink_reaches_255",
            "ink reaches 255",
            gxe.ExpectColumnMaxToBeBetween(column="maximum", min_value=255, max_value=255),
            "bring the pixels to 0–255; a highest value of 1 means that they were scaled to 0–1",
        ),
        Rule(
            "mean_grey",
            "mean grey level",
            gxe.ExpectColumnMeanToBeBetween(column="mean", min_value=low, max_value=high),
            "look at the images, then correct them or validate.mean_pixel",
        ),
        Rule(
            "ink_share",
            "share of ink",
            gxe.ExpectColumnMeanToBeBetween(column="ink_share", min_value=least, max_value=most),
            "look at the images, then correct them or validate.ink_share",
        ),
        no_blank(),
        Rule(
            "polarity",
            "paper is 0, ink is 255",
            gxe.ExpectColumnValuesToBeBetween(
                column="border_ink", max_value=params.max_border_ink, mostly=MOSTLY_PAPER
            ),
            "the images look inverted: 0 must be paper and 255 ink",
        ),
    ]
