"""The model, registered: an MLflow run with all that made it, and a version @challenger. Leaves
reports/registration.json, which says what was registered and not under which number: the registry knows that."""

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.registry import mlflow_errors, registration, versions


def main() -> None:
    with mlflow_errors.explained():
        version = registration.register(versions.connect_first(), params_file.load())
    facts = registration.identity()
    files.write_json(places.REGISTRATION, {"model": version.name, **facts, "card": version.description})
    print(f"register: {version.name} version {version.version} holds weights {facts['weights_sha256'][:12]}")


if __name__ == "__main__":
    with one_line():
        main()
