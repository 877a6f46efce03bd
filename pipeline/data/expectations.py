"""What is expected of a data set, whatever its images are of? The bands are params.yaml's section `validate`.

What is expected of images of one kind is in that kind's own `expectations`.
"""

from pipeline.base.form import DIGITS, TEN, Form
from pipeline.base.params import Validate
from pipeline.base.rules import Rule
from pipeline.data import descriptions, kinds, splits

ARGUMENTS = ("column", "column_A", "column_B")  # of an expectation, that name columns


def image_rules(split: str, params: Validate, form: Form = DIGITS) -> list[Rule]:
    """What is expected of a split's images. ``split`` is "train" or "test"."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    warning, labels = FailureSeverity.WARNING, list(range(len(form.classes)))
    rules = [
        Rule(
            "enough_images",
            "enough images",
            gxe.ExpectTableRowCountToBeBetween(min_value=getattr(params, f"min_{split}")),
            "add images, or lower validate.min_" + split,
        ),
        Rule(
            "labels_in_range",
            "labels are 0 to 9" if form.classes == TEN else "labels are of the classes",
            gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels),
            "correct or remove these labels",
        ),
        Rule(
            "every_class",
            "every class is present",
            gxe.ExpectColumnDistinctValuesToContainSet(column="label", value_set=labels),
            f"add images of the missing {'digits' if form.classes == TEN else 'classes'}",
        ),
        *kinds.expectations(form.kind).rules(params),
        Rule(
            "few_duplicates",
            "few exact duplicates",
            gxe.ExpectColumnMeanToBeBetween(column="duplicate", max_value=params.max_duplicate_share, severity=warning),
            "remove the copies: they count twice in training",
        ),
        Rule(
            "no_contradiction",
            "equal images have equal labels",
            gxe.ExpectColumnMaxToBeBetween(column="contradicting", max_value=0, severity=warning),
            "correct their labels",
        ),
    ]
    return rules + (leak_rules(params) if split == "test" else [])


def leak_rules(params: Validate) -> list[Rule]:
    """What is expected of test images that stand in train too."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return [
        Rule(
            "no_leakage",
            "no leakage from test to train",
            gxe.ExpectColumnMeanToBeBetween(column="in_other_split", max_value=params.max_leaked_share),
            "test images stand in train: take them out of one of the two",
        ),
        Rule(
            "no_test_image_in_train",
            "no test image in train",
            gxe.ExpectColumnMaxToBeBetween(column="in_other_split", max_value=0, severity=FailureSeverity.WARNING),
            "preprocess drops these images from train",
        ),
    ]


def class_rules(params: Validate, counts: dict[str, int], classes: int = 10) -> list[Rule]:
    """What is expected of the classes' shares in train and test, which have so many images: of few images chance alone
    brings more than the bands, and then that is allowed."""
    from great_expectations import expectations as gxe

    even = 1 / classes
    low, high = (times * even for times in params.class_balance)
    chance = {split: splits.by_chance(classes, count) for split, count in counts.items()}
    balance = [
        Rule(
            f"class_balance_{split}",
            f"class balance of {split}",
            gxe.ExpectColumnValuesToBeBetween(
                column=f"{split}_share",
                min_value=round(max(min(low, even - chance[split]), 0.0), 6),
                max_value=round(min(max(high, even + chance[split]), 1.0), 6),
            ),
            "add images of the rare classes, or widen validate.class_balance and let the recipe be balanced",
        )
        for split in ("train", "test")
    ]
    most = round(max(params.max_share_difference, chance["test"]), 6)
    alike = gxe.ExpectColumnValuesToBeBetween(column="difference", max_value=most)
    return [
        *balance,
        Rule("balanced_alike", "train and test are balanced alike", alike, "draw the two splits from the same source"),
    ]


def columns(params: Validate, form: Form) -> list[str]:
    """Those of a described split that are looked at here."""
    asked = {
        rule.expectation.configuration.kwargs.get(name)
        for rule in image_rules("test", params, form)
        for name in ARGUMENTS
    }
    return [name for name in descriptions.columns(form.kind) if name in {"hash", "label"} | asked]
