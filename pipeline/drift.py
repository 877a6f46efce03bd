"""Are train and test alike, but for chance? Leaves reports/drift.html and reports/drift.json. Drift is a warning."""

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.data import comparison, descriptions, sampling_noise


def main() -> None:
    params = params_file.load().drift
    train, test = (comparison.labelled(descriptions.sample(name)) for name in ("train", "test"))
    compared, snapshot = comparison.compare(train, test, params, sampling_noise.by_chance(train, test))
    comparison.save_page(snapshot, places.DRIFT_PAGE)
    files.write_json(places.DRIFT, compared.as_json())
    far, alike = compared.columns[0], compared.verdict == "alike"
    line = f"largest distance {far.distance:.3f} ({far.name}), {compared.drifted_share:.0%} of columns drifted"
    print(f"{'' if alike else 'warning: '}drift: train and test are {'alike' if alike else 'not alike'}; {line}")


if __name__ == "__main__":
    with one_line():
        main()
