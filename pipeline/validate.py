"""May this data in? Leaves reports/validation.json and the Data Docs in reports/validation/.

It then stops the pipeline with a line for each critical finding; warnings are printed and go on.
"""

from pipeline.base import files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line
from pipeline.data import checks, descriptions, expectations, splits


def main() -> None:
    params, of = params_file.load().validate_, form.load(places.RAW)
    train, test = (descriptions.load(name, columns=expectations.columns(params, of)) for name in ("train", "test"))
    with files.swapped(places.DATA_DOCS) as docs:
        validated = checks.validate(train, test, params, docs, of, splits.shard_size(of.shape))
    files.write_json(places.VALIDATION, validated.as_json())
    failed = [check for check in validated.checks if not check.passed]
    for check in failed:
        if not check.stops:
            print(f"warning: validate: {check.message}")
    if not validated.success:
        raise BadInput("\n".join(f"validate: {check.message}" for check in failed if check.stops))
    print(f"validate: {len(validated.checks)} checks, warnings: {len(failed)}; see {places.DATA_DOCS}/index.html")


if __name__ == "__main__":
    with one_line():
        main()
