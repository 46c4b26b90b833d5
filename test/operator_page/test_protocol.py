"""What a page may say, and what is no message."""

import json

import pytest

from humanoid_control.operator_page.protocol import MOST_BYTES, Ask, Control, Hello, Input, ProtocolError, Watch, read_message

CAMERAS = ("head_camera", "left_wrist_camera")
POSE = [0.3, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0]
INPUT = {"type": "input", "t": 1.0, "axes": [0, 0.5, 1, 0, 0, -1.0], "buttons": [0] * 8, "hands": [None, POSE]}


def read(**fields):
    return read_message(json.dumps(fields), CAMERAS)


def test_what_a_page_says_is_read():
    assert read(type="hello", token="t", name=" Ada ") == Hello("t", "Ada")
    assert read(**INPUT) == Input(1.0, (0.0, 0.5, 1.0, 0.0, 0.0, -1.0), (0,) * 8, (None, tuple(POSE)))
    assert read(type="control", wanted=True) == Control(True)
    assert read(type="watch", cameras=["head_camera"]) == Watch(("head_camera",))
    asked = read(type="ask", number=3, what="end_episode", keep=False, outcome="failure", note="Griff verfehlt")
    assert asked == Ask(3, "end_episode", "", None, False, "failure", "Griff verfehlt")
    assert read(type="ask", number=4, what="start_episode", order=2).order == 2


def test_a_quaternion_is_made_exact():
    hand = read(**{**INPUT, "hands": [None, [0, 0, 0, 0, 0, 0, 1.004]]}).hands[1]
    assert hand[6] == 1.0


@pytest.mark.parametrize("changes", [
    {"t": -1.0}, {"t": "1"}, {"t": True}, {"axes": [0.0] * 5}, {"axes": [0.0] * 5 + [1.01]}, {"axes": [0.0] * 5 + [float("nan")]},
    {"axes": [0.0] * 5 + [float("inf")]}, {"axes": [0.0] * 5 + [10**300]}, {"axes": [0.0] * 5 + [None]}, {"axes": {"0": 1}}, {"buttons": [0] * 7},
    {"buttons": [0] * 7 + [2]}, {"buttons": [0] * 7 + [True]}, {"buttons": [0] * 7 + [1.0]}, {"hands": [None]}, {"hands": [None, POSE[:6]]},
    {"hands": [None, [*POSE[:6], 0.0]]}, {"hands": [None, [11.0, *POSE[1:]]]}, {"hands": [None, ["0.3", *POSE[1:]]]}, {"extra": 1}])  # fmt: skip
def test_an_input_that_is_none_is_refused_whole(changes):
    with pytest.raises(ProtocolError):
        read(**{**INPUT, **changes})


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", "1", '"input"', "{}", '{"type": 1}', '{"type": ["input"]}', '{"type": "reboot"}', '{"type": "control"}', '{"type": "control", "wanted": 1}',
    "[" * MOST_BYTES, '{"a":' * 600, "9" * MOST_BYTES, '{"type": "ping", "t": ' + "9" * 4000 + "}", '{"type": "ping", "t": 1e999}', "x" * (MOST_BYTES + 1),
    '{"type": "ask", "number": 1, "what": "shutdown"}', '{"type": "ask", "number": 1, "what": "stop", "note": "a\\nb"}', '{"type": "ask", "number": 1, "what": ["stop"]}',
    '{"type": "ask", "number": 1, "what": "start_episode", "order": -1}', '{"type": "ask", "number": 1, "what": "start_episode", "order": true}',
    '{"type": "ask", "number": -1, "what": "stop"}', '{"type": "ask", "number": true, "what": "stop"}', '{"type": "watch", "cameras": ["../etc"]}',
    '{"type": "watch", "cameras": "head_camera"}', '{"type": "seen", "stream": "head_camera", "number": 1.5}', '{"type": "hello", "token": "t", "name": "\\ud800"}',
    '{"type": "hello", "token": 7, "name": "x"}', '{"type": "hello", "token": "t", "name": "' + "x" * 41 + '"}'])  # fmt: skip
def test_what_is_no_message_is_refused_in_a_line(text):
    with pytest.raises(ProtocolError) as error:
        read_message(text, CAMERAS)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200
