"""Who asks, as a request's headers say it?"""

from base64 import b64encode

import pytest
from starlette.datastructures import Headers

from serving import gatekeeper


def basic(person: str, key: str) -> str:
    return "Basic " + b64encode(f"{person}:{key}".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("", "")),
        ({"x-api-key": "k"}, ("", "k")),
        ({"authorization": "Bearer k"}, ("", "k")),
        ({"authorization": basic("Änne", "k:k")}, ("Änne", "k:k")),
        ({"authorization": "Basic %%%"}, ("", "")),
    ],
)
def test_a_person_and_the_key_stand_in_the_usual_places(headers: dict[str, str], expected: tuple[str, str]):
    assert gatekeeper._credentials(Headers(headers)) == expected


def test_a_name_of_control_characters_is_spelt_out_before_it_is_kept():
    """It comes to a terminal one day, which would obey it."""
    person, _ = gatekeeper._credentials(Headers({"authorization": basic("\x1b]0;pwn\x07\x1b[31mEVIL\nline", "k")}))
    assert person.isprintable() and "EVIL" in person
