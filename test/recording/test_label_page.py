"""The page on which a person puts sub-tasks right: what it saves, and whom it serves."""

import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest

from humanoid_control.recording.card import CARD, Card, Segment
from humanoid_control.recording.errors import RecordingError
from policies.label_page import LOOPBACK, MOST_BYTES, LabelPage, checked

GOOD = {"by": " Ada ", "segments": [[0.0, 1.5, "approach"], [1.5, 3.0, "reach"]]}


@pytest.fixture(scope="module")
def served(real, copied, tmp_path_factory):
    page = LabelPage(copied(real[0], tmp_path_factory.mktemp("label"), "piece", begin_s=1.0, end_s=4.0))
    thread = threading.Thread(target=page.serve)
    thread.start()
    yield page
    page.close()
    thread.join()


def ask(page, method="GET", path=None, body=None, **headers):
    url = urlsplit(page.address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request(method, path if path is not None else f"{url.path}?{url.query}", body, {key.replace("_", "-"): value for key, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def token(page):
    return urlsplit(page.address).query.removeprefix("token=")


def test_the_page_has_film_sub_tasks_and_all_names(served):
    status, text = ask(served)
    assert status == 200 and "data:video/mp4;base64," in text and '"approach"' in text and '"grip_lip"' in text and "piece" in text
    assert urlsplit(served.address).hostname == LOOPBACK


def test_what_is_saved_is_on_the_card_with_who_said_so(served):
    status, text = ask(served, "POST", "/save", json.dumps(GOOD), X_Token=token(served))
    assert (status, json.loads(text)["message"]) == (200, "saved: 2 sub-tasks by Ada")
    card = Card.read(served.folder / CARD)
    assert card.segments == [Segment(0.0, 1.5, "approach"), Segment(1.5, 3.0, "reach")] and card.segmented_by == "Ada"
    assert card.outcome == "success"  # the rest stays


def test_nobody_else_is_served(served):
    before = (served.folder / CARD).read_bytes()
    assert ask(served, path="/")[0] == 403 and ask(served, path="/?token=x")[0] == 403
    assert ask(served, "POST", "/save", json.dumps(GOOD))[0] == 403
    assert ask(served, "POST", "/save", json.dumps(GOOD), X_Token="é".encode("latin-1"))[0] == 403
    assert ask(served, Host="evil.example")[0] == 403
    assert ask(served, "POST", "/save", json.dumps(GOOD), X_Token=token(served), Host="evil.example")[0] == 403
    assert ask(served, "POST", "/save", None, X_Token=token(served), Content_Length=str(MOST_BYTES + 1))[0] == 413
    assert (served.folder / CARD).read_bytes() == before


@pytest.mark.parametrize(("change", "why"), [
    ({"by": ""}, "say who you are"), ({"by": "a" * 81}, "say who you are"), ({"by": 3}, "by and segments are needed"),
    ({"segments": [[0.0, 1.0, "dance"]]}, "'dance' is no sub-task; allowed: start, approach"),
    ({"segments": [[1.0, 0.5, "reach"]]}, "not within the episode"), ({"segments": [[0.0, 99.0, "reach"]]}, "not within the episode"),
    ({"segments": [[0.0, 2.0, "reach"], [1.0, 3.0, "grip"]]}, "or over another"), ({"segments": [[0.0, float("nan"), "reach"]]}, "this is none"),
    ({"segments": ["reach"]}, "this is none"), ({"segments": [[0.0, 1.0, "reach"]] * 1001}, "1001 sub-tasks are too many"),
])  # fmt: skip
def test_what_is_none_is_refused_with_the_reason(change, why):
    with pytest.raises(RecordingError, match=why):
        checked(GOOD | change, 3.0)


def test_what_is_no_json_is_refused(served):
    for body in ("{", "[" * 20_000, "3"):
        assert ask(served, "POST", "/save", body, X_Token=token(served))[0] == 400
