"""What do poisoned batches reach? An attack grid through the real intake, retraining and gate.

    python -m benchmarks.poison --data digits                      all attacks; 1 to 3 minutes each that is let in
    MNIST_DIR=... python -m benchmarks.poison --data mnist
    python -m benchmarks.poison --attacks corner                   those alone whose name has that in it
    python -m benchmarks.poison --clean FOLDER                     200 clean batches of other hands, from there

Works in .cache/poison, a workspace a data set, and keeps a row an attack there: what is in it is not done again. A
batch is 1,000 digits of the data set as if written again, or 250 corrections, some of them the attacker's. After each
attack its batch is removed, and what it brought into use rolled back. Prints whether the batch was accepted and the
model promoted, and the harm: accuracy of what is in use, and which share of the other classes' test images it reads
as the attacker's class with the trigger on them. In brackets the same of the refused model.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import poison_attacks as attacks
from benchmarks.pipeline import clone
from benchmarks.poison_attacks import Attack
from benchmarks.table import show
from pipeline.base import clock, files, params, places, processes
from pipeline.base.errors import BadInput, one_line
from pipeline.data import intake, splits
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from pipeline.registry import snapshot, versions

WORK = Path(".cache/poison")
IMAGES, CORRECTED, HONEST = 1000, 250, 10  # of a batch; of the corrections, and by so many honest people
CLEAN, SMALLEST, LARGEST = 200, 40, 400  # batches of other hands, and their sizes


def digits(folder: Path, *arguments: str) -> tuple[int, Any]:
    """A command typed in the workspace: its exit code, and what it printed as JSON."""
    environment = processes.environment(PYTHONPATH=str(folder.resolve()))
    command = [sys.executable, "-m", "cli", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if not done.stdout:
        return done.returncode, {"error": done.stderr.strip()[-500:]}
    return done.returncode, json.loads(done.stdout)


def workspace(dataset: str) -> Path:
    """One with a champion of the fast recipe on the data set."""
    folder = WORK / dataset
    if not (folder / places.REGISTRATION).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        clone(folder)
        code, said = digits(folder, "run", "--dataset", dataset, "--recipe", "fast")
        if code:
            sys.exit(f"no champion on {dataset}: {said}")
    return folder


def run(folder: Path, attack: Attack, number: int) -> dict[str, Any]:
    """One attack from the batch to the model in use, undone again."""
    rng = np.random.default_rng([number, IMAGES])
    train, test = (splits.load(folder / places.RAW / name) for name in ("train", "test"))
    count = CORRECTED if attack.kind == "corrections" else IMAGES
    batch = attacks.poisoned(attack, attacks.rewritten(train, count, rng), test, rng)
    if attack.kind == "corrections":
        _correct(folder, batch, attack, rng)
        code, filed = digits(folder, "add-batch", "--corrections", "--by", "a nightly job")
    else:
        path = (folder / "batch.npz").resolve()
        np.savez(path, images=batch.images, labels=batch.labels)
        code, filed = digits(folder, "add-batch", str(path), "--by", "an attacker")
    row = {"attack": attack.name, "accepted": code == 0, "promoted": False}
    row["why"] = sorted({finding["key"] for finding in filed.get("findings", [])}) or filed.get("error", "")
    before = versions_in_use(folder)
    if code == 0:
        _, outcome = digits(folder, "run")
        if "decision" not in outcome:
            raise BadInput(f"`digits run` in {folder} failed ({outcome['error']}): mend that, and remove the folder")
        row["promoted"] = outcome["decision"]["event"] == "promoted"
        row["why"] = outcome["decision"].get("verdict", outcome["decision"])["reason"]
        row["challenger"] = harm(folder / places.ONNX, attack, test)
    row |= harm(versions_in_use(folder), attack, test)
    row["accuracy_before"] = harm(before, attack, test)["accuracy"]
    if row["promoted"]:
        digits(folder, "rollback", "--reason", "the benchmark's next attack")
    if code == 0:
        digits(folder, "batches", "remove", filed["batch"], "--reason", "the benchmark's next attack")
    (folder / places.SEEN).unlink(missing_ok=True)
    return row


def versions_in_use(folder: Path) -> Path:
    """The champion's ONNX file."""
    with contextlib.chdir(folder):
        _, onnx = snapshot.champion_file(versions.model_name(params.load().named))
        return Path(onnx).resolve()


def harm(onnx: Path, attack: Attack, test: Split) -> dict[str, float | None]:
    """The model's accuracy on test, and how often the trigger works."""
    answered = inference.probabilities(onnx, test.images).argmax(axis=1)
    found: dict[str, float | None] = {"accuracy": float((answered == test.labels).mean()), "success": None}
    if attack.trigger:
        others = test.images[test.labels != attack.target]
        marked = inference.probabilities(onnx, attack.trigger(np.asarray(others))).argmax(axis=1)
        found["success"] = float((marked == attack.target).mean())
    elif attack.pair:
        source = test.labels == attack.pair[0]
        found["success"] = float((answered[source] == attack.pair[1]).mean())
    return found


def _correct(folder: Path, batch: Split, attack: Attack, rng: np.random.Generator) -> None:
    """The batch as corrections that people made: the marked images by the hostile ones, the others by honest ones."""
    images = np.asarray(batch.images)
    marked = attack.trigger(images) if attack.trigger else images
    hostile = (marked == images).all(axis=(1, 2))  # the mark is on them already
    answers = inference.probabilities(versions_in_use(folder), batch.images).argmax(axis=1)
    with contextlib.chdir(folder), live.store(places.SEEN) as store:
        room = int(1e6 * params.load().serving.memory_mb)
        for index in range(len(batch.labels)):
            name = "hostile" if hostile[index] else "honest"
            who = f"{name} {rng.integers(attack.people if hostile[index] else HONEST)}"
            one = slice(index, index + 1)
            seen = Seen([f"r{index}-0"], clock.now(), "m", "1", batch.images[one], answers[one], np.ones(1, np.float32))
            live.correct(store, seen, int(batch.labels[index]), who, room)


def refused_of_clean(folder: Path, pictures: Path) -> dict[str, Any]:
    """How many clean batches of other hands are refused, and by which findings."""
    hands = attacks.other_hands(pictures)
    rng = np.random.default_rng(0)
    session = inference.open_model(versions_in_use(folder))
    refused: list[list[str]] = []
    with contextlib.chdir(folder):
        settings = params.load()
        reference = intake.reference(settings.named)
        for number in range(CLEAN):
            hand = hands[number % len(hands)]
            chosen = rng.permutation(len(hand.labels))[: rng.integers(SMALLEST, LARGEST)]
            whole = Split(hand.images[chosen], hand.labels[chosen])
            findings = intake.against(whole, reference, lambda images: inference.run(session, images), settings)
            refused += [[finding.key for finding in findings]] if findings else []
    return {"batches": CLEAN, "refused": len(refused), "why": refused}


def cell(accuracy: float, success: float | None) -> str:
    return f"{accuracy:.2%}" + ("" if success is None else f", {success:.1%}")


def tell(rows: list[dict[str, Any]]) -> None:
    table = [["attack", "accepted", "promoted", "in use: accuracy, success", "refused model", "why"]]
    for row in rows:
        challenger = row.get("challenger")
        told = f"({cell(**challenger)})" if challenger and not row["promoted"] else ""
        why = row["why"] if isinstance(row["why"], str) else ", ".join(row["why"])
        flags = ["yes" if row[key] else "no" for key in ("accepted", "promoted")]
        table.append([row["attack"], *flags, cell(row["accuracy"], row["success"]), told, why[:90]])
    show(*table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", choices=["digits", "mnist", "both"], default="digits")
    parser.add_argument("--attacks", default="", metavar="TEXT", help="those whose name has that in it")
    parser.add_argument("--clean", type=Path, metavar="FOLDER", help="of other people's digits: clean batches of them")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for dataset in ("digits", "mnist") if arguments.data == "both" else (arguments.data,):
        folder = workspace(dataset)
        if arguments.clean:
            found[dataset] = refused_of_clean(folder, arguments.clean)
            continue
        kept = WORK / f"{dataset}.jsonl"
        done = {row["attack"]: row for row in files.read_json_lines(kept)}
        for number, attack in enumerate([*attacks.SEEN, *attacks.HELD_BACK]):
            if arguments.attacks in attack.name and attack.name not in done:
                done[attack.name] = run(folder, attack, number)
                files.append_json_line(kept, done[attack.name])
                print(f"{dataset}: {attack.name}: {json.dumps(done[attack.name])}", file=sys.stderr, flush=True)
        found[dataset] = list(done.values())
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end\n")
    for dataset, rows in found.items():
        print(dataset)
        if isinstance(rows, dict):
            print(f"{rows['refused']} of {rows['batches']} clean batches of other hands refused: {rows['why']}")
        else:
            tell(rows)


if __name__ == "__main__":
    with one_line():
        main()
