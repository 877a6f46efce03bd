"""The service over HTTP, as its clients meet it."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import photos
import pytest
import schemathesis
from drawing import draw
from hypothesis import HealthCheck, given, settings
from PIL import Image, ImageDraw
from running import Service, problem
from schemathesis.specs.openapi.checks import positive_data_acceptance
from waiting import WAIT, until
from workspace import Workspace


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(header: str) -> bytes:
    """An npy file of that header and one byte."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\x00"


NPY_HEADERS = [
    ("{'descr': '|u1', 'fortran_order': False, 'shape': (1,),", 400, "not a npy file"),
    ("{'descr': (), 'fortran_order': False, 'shape': (1,)}", 400, "not a npy file"),
    ("{'descr': ('|u1',), 'fortran_order': False, 'shape': (1,)}", 400, "not a npy file"),
    (f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 65}}}", 422, "of the shape"),
    (f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(10**25, 28, 28)}}}", 422, "its 1 bytes are not"),
    (f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(0, 10**25, 28)}}}", 422, "of the shape"),
]


def form(files: int) -> bytes:
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="f.png"\r\n\r\n1\r\n'
    return part * files + b"--x--\r\n"


def post(service: Service, body: bytes, kind: str, **more: Any) -> httpx.Response:
    return service.client.post("/predict", content=body, headers={"content-type": kind, **more})


def test_arrays_as_json_and_as_npy_are_answered_alike(service: Service, digits: tuple[np.ndarray, np.ndarray]):
    images, labels = digits
    as_json = service.predict(images)["answers"]
    as_npy = post(service, npy(images), "application/x-npy").json()["answers"]
    np.testing.assert_allclose(*([a["probabilities"] for a in answers] for answers in (as_json, as_npy)), atol=2e-6)
    right = np.mean([a["digit"] == label for a, label in zip(as_json, labels, strict=True)])
    assert right >= 0.98
    first = as_json[0]
    assert first["confidence"] == max(first["probabilities"]) and abs(sum(first["probabilities"]) - 1) < 1e-5
    assert first["second"]["digit"] != first["digit"] and first["second"]["confidence"] <= first["confidence"]
    assert len({a["id"] for a in as_json}) == len(images)


def test_one_image_may_stand_alone(service: Service, digits: tuple[np.ndarray, np.ndarray]):
    (alone,) = service.predict(digits[0][0])["answers"]
    assert alone["digit"] == service.predict(digits[0][:1])["answers"][0]["digit"]


def test_pictures_are_read_one_or_many(service: Service):
    pictures = photos.pictures("mouse", 10, seed=3)
    files = [("files", (f"{digit}.png", content)) for digit, content in pictures]
    answers = service.client.post("/predict", files=files, params={"image": "true"}).json()["answers"]
    assert [a["source"] for a in answers] == [f"{digit}.png" for digit, _ in pictures]
    assert sum(a["digit"] == digit for a, (digit, _) in zip(answers, pictures, strict=True)) >= 8
    (alone,) = post(service, pictures[4][1], "image/png").json()["answers"]
    assert alone["digit"] == answers[4]["digit"] and "image" in answers[4] and "image" not in alone


def test_no_digit_and_more_than_one_are_said(service: Service):
    blank, two = Image.new("L", (200, 200), 255), Image.new("RGB", (560, 280), "white")
    for place, (_, content) in zip((0, 280), photos.pictures("mouse", 2, seed=1), strict=True):
        two.paste(Image.open(io.BytesIO(content)), (place, 0))
    files = []
    for name, picture in (("blank", blank), ("two", two)):
        file = io.BytesIO()
        picture.save(file, "PNG")
        files.append(("files", (name, file.getvalue())))
    answers = service.client.post("/predict", files=files).json()["answers"]
    assert [a["digit"] for a in answers] == [None, None]
    assert "no digit" in answers[0]["reason"] and "more than one digit" in answers[1]["reason"]
    assert service.predict(np.zeros((1, 28, 28), int))["answers"][0]["digit"] is None


FIELDS = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(11)) + b"--x--\r\n"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"", "image/png", 422, "is not a picture"),
        (b"seven", "image/png", 422, "is not a picture"),
        (photos.pictures("mouse", 1, 0)[0][1][:300], "image/png", 422, "cut off or damaged"),
        (b"{", "application/json", 400, "not JSON"),
        (b"[" * 100_000, "application/json", 400, "not JSON"),
        (b'{"image": []}', "application/json", 422, '{"images": [...]}'),
        (b'{"images": []}', "application/json", 422, "not a list of lists"),
        (b'{"images": [[1, 2], [3]]}', "application/json", 422, "28 rows of 28"),
        (json.dumps({"images": ["a" * 100_000, *["b"] * 100_000]}).encode(), "application/json", 422, "28 rows of 28"),
        (json.dumps({"images": [["1"] * 28] * 28}).encode(), "application/json", 422, "whole numbers"),
        (json.dumps({"images": [[0.5] * 28] * 28}).encode(), "application/json", 422, "0 (paper) to 255"),
        (json.dumps({"images": [[256] * 28] * 28}).encode(), "application/json", 422, "of 0 to 255"),
        (json.dumps({"images": [[10**30] * 28] * 28}).encode(), "application/json", 422, "whole numbers"),
        (json.dumps({"images": [[1] * 27] * 28}).encode(), "application/json", 422, "28 rows of 28"),
        (npy(np.zeros((1, 28, 28))), "application/x-npy", 422, "holds float64"),
        (npy(np.zeros((0, 28, 28), np.uint8)), "application/x-npy", 422, "holds no image"),
        (npy(np.zeros((1, 28, 28), np.uint8))[:500], "application/x-npy", 422, "header says"),
        (npy(np.zeros((1, 28, 28), object)), "application/x-npy", 422, "holds object"),
        (npy(np.zeros((1001, 28, 28), np.uint8)), "application/x-npy", 413, "more than 1000"),
        (b"\x93NUMPY", "application/x-npy", 400, "not a npy file"),
        *((npy_header(header), "application/x-npy", status, words) for header, status, words in NPY_HEADERS),
        (b"1", "text/plain", 415, "is not read"),
        (b"1", "multipart/form-data", 400, "boundary"),
        (form(1), "multipart/form-data; boundary=x; charset=undefined", 415, "charset"),
        (form(1002), "multipart/form-data; boundary=x", 413, "Too many files"),
        (FIELDS, "multipart/form-data; boundary=x", 400, "Too many fields"),
    ],
)
def test_what_cannot_be_read_is_a_problem_of_one_line(
    service: Service, body: bytes, kind: str, status: int, words: str
):
    assert words in problem(post(service, body, kind), status)


def strange_pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    digit = Image.open(io.BytesIO(photos.pictures("mouse", 8, 0)[7][1]))

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    sixteen = Image.fromarray(np.asarray(digit.convert("L")).astype(np.uint16) * 257)
    frames = [digit, Image.new("RGB", digit.size, "white")]
    return {
        "sixteen bits": saved(sixteen, "PNG"),
        "CMYK": saved(digit.convert("CMYK"), "JPEG"),
        "animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "palette": saved(digit.convert("P"), "PNG"),
        "one bit": saved(digit.convert("1"), "PNG"),
        "noise": saved(Image.fromarray(rng.integers(0, 256, (300, 300, 3), np.uint8)), "PNG"),
        "a line": saved(Image.new("L", (2000, 3), 0), "PNG"),
        "one pixel": saved(Image.new("L", (1, 1), 0), "PNG"),
        "enormous": saved(Image.new("1", (12_000, 12_000)), "PNG"),
        "large": saved(Image.new("1", (7_000, 7_000)), "PNG"),
        "transparent and large": saved(Image.new("RGBA", (5_000, 4_900)), "PNG"),
        "a text": b"<html>" * 1000,
    }


def test_strange_pictures_are_no_defect_and_take_no_memory(service: Service):
    before = service.peak_mb()
    for name, content in strange_pictures().items():
        answer = post(service, content, "application/octet-stream")
        assert answer.status_code in (200, 422), (name, answer.text)
        if name in ("sixteen bits", "CMYK", "animated", "palette", "one bit"):
            assert answer.json()["answers"][0]["digit"] is not None, (name, answer.text)
    assert service.process.poll() is None
    assert service.peak_mb() < before + 250


def test_a_path_cannot_write_lines_into_the_log(service: Service):
    assert (
        b" 404 "
        in service.exchange(
            b"GET /x%0AERROR%20forged HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ).splitlines()[0]
    )
    until(lambda: "GET /x%0AERROR%20forged 404" in service.log, "a line")


def test_every_answer_and_log_line_has_the_request_s_id(service: Service):
    given = service.client.get("/health", headers={"x-request-id": "a-client.s_own:1"})
    assert given.headers["x-request-id"] == "a-client.s_own:1"
    made = service.client.get("/health", headers={"x-request-id": "two\twords"}).headers["x-request-id"]
    assert len(made) == 32
    until(
        lambda: all(f"{one} 127.0.0.1 GET /health 200" in service.log for one in ("a-client.s_own:1", made)), "a line"
    )


def test_what_is_not_there_is_a_problem_too(service: Service):
    assert problem(service.client.get("/nothing"), 404) == "Not Found"
    for path in (b"/page/../service.py", b"/page/%2e%2e/service.py", b"/reports/..%2fparams.yaml"):
        assert (
            b" 404 "
            in service.exchange(
                b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ).splitlines()[0]
        )
    answer = service.client.put("/predict")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_the_model_s_card_says_what_answers(service: Service):
    card = service.client.get("/model").json()
    assert card["champion"]["version"] == service.ready() and card["challenger"] is None
    assert card["champion"]["metrics"]["accuracy"] > 0.98 and card["champion"]["lineage"]["dataset"] == "digits"


def test_prometheus_reads_the_metrics(service: Service, digits: tuple[np.ndarray, np.ndarray]):
    def count() -> float:
        lines = service.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("digits_answers_total{"))

    before = count()
    service.predict(digits[0][:7])
    assert count() == before + 7
    text = service.client.get("/metrics").text
    assert 'digits_requests_total{method="POST",route="/predict",status="200"}' in text
    assert 'digits_model_version{alias="champion",version="1"} 1.0' in text


def test_other_sites_pages_may_not_send_requests(service: Service):
    answer = service.client.post("/predict", json={"images": []}, headers={"origin": "https://elsewhere.example"})
    assert "elsewhere.example" in problem(answer, 403)
    problem(service.client.post("/predict", json={"images": []}, headers={"origin": "http://["}), 403)
    own = service.client.post("/predict", json={"images": []}, headers={"origin": service.url})
    assert own.status_code == 422


def test_a_body_that_is_too_large_is_refused_however_it_comes(service: Service):
    problem(post(service, bytes(17_000_000), "application/x-npy"), 413)
    chunks = (bytes(1_000_000) for _ in range(40))
    try:
        answer = service.client.post("/predict", content=chunks, headers={"content-type": "application/x-npy"})
    except httpx.WriteError:  # it hung up while more was being sent
        pass
    else:
        problem(answer, 413)
    chunks = (bytes(1_000_000) for _ in range(17))
    answer = service.client.post("/corrections", content=chunks, headers={"content-type": "application/json"})
    problem(answer, 413)
    assert service.client.get("/health").is_success


def test_idle_and_slow_clients_do_not_stop_others(service: Service, digits: tuple[np.ndarray, np.ndarray]):
    port = int(service.url.rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(150)]
    for slow in idle[:50]:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-npy\r\nContent-Length: 9999\r\n\r\n\x93"
        )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: service.predict(image)["answers"][0]["digit"], digits[0][:64]))
    assert np.mean(np.array(answers) == digits[1][:64]) > 0.9
    for connection in idle:
        connection.close()


def test_the_service_keeps_to_its_openapi_document(service: Service):
    """Requests made from the document, right ones and wrong ones: no defect, and no answer that it does not name."""

    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # not all bytes are a picture

    right, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    for found in schemathesis.openapi.from_url(f"{service.url}/openapi.json").get_all_operations():
        operation = found.ok()
        for mode in (right, wrong) if operation.method == "post" else (right,):
            cases = operation.as_strategy(generation_mode=mode)
            settings(max_examples=25, suppress_health_check=list(HealthCheck))(given(cases)(check))()


# --- with settings of their own ---------------------------------------------------------------------------------------


@pytest.fixture
def workspace(demo: Workspace, tmp_path: Path) -> Workspace:
    return demo.copy(tmp_path / "workspace")


def test_a_key_is_asked_for_where_one_is_set(workspace: Workspace):
    service = Service(workspace, DIGITS_API_KEY="open sesame")
    until(lambda: service.client.get("/ready").is_success, "an answer")  # open to whoever watches over it
    refused = service.client.get("/model")
    assert "API key" in problem(refused, 401) and refused.headers["www-authenticate"].startswith("Basic")
    problem(service.client.get("/model", headers={"x-api-key": "open barley"}), 401)
    assert service.client.get("/", auth=("anybody", "open sesame")).is_success
    for headers in ({"x-api-key": "open sesame"}, {"authorization": "Bearer open sesame"}):
        assert service.client.get("/model", headers=headers).is_success
    assert service.stop() == 0


def test_too_many_requests_and_too_slow_ones_are_refused(workspace: Workspace):
    workspace.edit(rate="5/hour", **{"serving.max_seconds": "1.0"})
    service = Service(workspace)
    port = int(service.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-npy\r\nContent-Length: 9\r\n\r\n\x93"
        )
        assert b" 408 " in slow.recv(4096).splitlines()[0]
    answers = [service.client.get("/health") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429, 429]
    assert "5 requests per hour" in problem(answers[-1], 429) and 1 < int(answers[-1].headers["retry-after"]) <= 3600
    assert service.stop() == 0


def test_pictures_that_take_too_long_together_are_refused_and_hold_up_nobody(workspace: Workspace):
    workspace.edit("serving.max_seconds", "1.0")
    service = Service(workspace)
    service.ready()
    file = io.BytesIO()
    page = Image.new("L", (7_000, 7_000))  # takes a tenth of a second: all of them many times what they may
    ImageDraw.Draw(page).line([(2_800, 1_300), (3_400, 5_700)], fill=255, width=700)
    page.save(file, "PNG")
    answer = service.client.post("/predict", files=[("files", ("large", file.getvalue()))] * 100)
    assert "send fewer at once" in problem(answer, 413)
    assert service.stop() == 0


def test_a_store_that_cannot_be_used_is_said_and_predictions_go_on(
    workspace: Workspace, digits: tuple[np.ndarray, np.ndarray]
):
    service = Service(workspace)
    service.ready()
    first = service.predict(digits[0][:1])["answers"][0]["id"]
    until(lambda: service.client.get("/health").json()["memory"]["written"] == 1, "the memory")
    for suffix in ("", "-wal", "-shm"):
        (workspace.folder / f"data/live.db{suffix}").unlink(missing_ok=True)
    (workspace.folder / "data/live.db").write_text("this is no database, and long enough to be taken for a broken one")
    answer = service.client.post("/corrections", json={"id": first, "digit": 1})
    assert "cannot be kept now" in problem(answer, 503)
    service.predict(digits[0][:2])
    until(lambda: service.client.get("/health").json()["memory"]["dropped"] == 2, "what is dropped")
    assert service.stop() == 0


def test_logs_can_be_json(workspace: Workspace):
    service = Service(workspace, "--json")
    service.client.get("/health", headers={"x-request-id": "one"})
    until(lambda: '"request_id": "one"' in service.log, "a line")
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert {"path": "/health", "status": 200}.items() <= next(
        line for line in lines if line.get("request_id") == "one"
    ).items()
    assert service.stop() == 0


def test_without_a_champion_it_waits_for_one(workspace: Workspace):
    service = Service(workspace, "--model", "no-such-model")
    until(lambda: "has no champion yet" in problem(service.client.get("/ready"), 503), "the registry's word")
    assert "has no champion yet" in problem(service.client.post("/predict", json={"images": [[99] * 28] * 28}), 503)
    assert service.client.get("/").is_success
    assert service.stop() == 0


def test_a_port_that_is_taken_is_one_line(workspace: Workspace):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = workspace.digits("serve", "--port", port, code=2)
    assert (
        done.stderr
        == f"error: 127.0.0.1:{port} cannot be listened on: address already in use: give another --host or --port\n"
    )
    assert "cannot be listened on" in workspace.digits("serve", "--host", "192.0.2.1", code=2).stderr
    assert "unknown error" not in workspace.digits("serve", "--host", "no-such-host.invalid", code=2).stderr


@pytest.mark.slow
def test_mlflow_serves_the_same_version(workspace: Workspace, digits: tuple[np.ndarray, np.ndarray]):
    """MLflow's own server on the registered model, without TensorFlow in it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**workspace.environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.folder}/mlflow.db"}
    command = [
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/digits-cnn@champion",
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=workspace.folder, env=environment, start_new_session=True
    )
    try:

        def pinged() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/ping", timeout=5).is_success
            except httpx.HTTPError:
                return False

        until(pinged, "MLflow's server")
        body = {"inputs": {"images": digits[0][:5].tolist()}}
        answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json=body, timeout=WAIT)
        answered = np.array(answer.json()["predictions"]["probabilities"])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(WAIT)
    service = Service(workspace)
    service.ready()
    own = [a["probabilities"] for a in service.predict(digits[0][:5])["answers"]]
    np.testing.assert_allclose(answered, own, atol=1e-5)
    assert service.stop() == 0


def test_every_digit_of_a_picture_is_answered_with_its_box(service: Service):
    picture = np.concatenate([draw(4), draw(1), draw(7)], axis=1)
    content = cv2.imencode(".png", picture)[1].tobytes()
    asked = partial(service.client.post, "/predict", content=content, headers={"content-type": "image/png"})
    (refused,) = asked().json()["answers"]
    assert refused["digit"] is None and "more than one digit" in refused["reason"]
    answers = asked(params={"all": "true"}).json()["answers"]
    assert len(answers) == 3 and len({answer["id"] for answer in answers}) == 3
    assert [answer["box"]["left"] // 200 for answer in answers] == [0, 1, 2]
    assert all(answer["box"]["height"] > 100 and len(answer["probabilities"]) == 10 for answer in answers)
