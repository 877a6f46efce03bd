"""What is expected of a data set."""

from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.data import expectations

PARAMS = params_file.load(ROOT / "params.yaml")


def test_every_rule_has_a_key_of_its_own():
    for rules in (
        expectations.image_rules("test", PARAMS.validate_),
        expectations.class_rules(PARAMS.validate_, {"train": 1000, "test": 1000}),
    ):
        assert len({rule.key for rule in rules}) == len(rules)
