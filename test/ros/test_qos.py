"""Publishing where DDS does not take a message."""

import pytest
from rclpy.publisher import Publisher

from humanoid_control.ros.qos import Sender


@pytest.fixture
def sender(monkeypatch):
    """A sender whose DDS takes what is not an error."""
    made = Sender.__new__(Sender)
    made.refused, made.published = 0, []

    def publish(_self, message):
        if isinstance(message, Exception):
            raise message
        made.published.append(message)

    monkeypatch.setattr(Publisher, "publish", publish)
    return made


def test_a_message_that_dds_does_not_take_in_time_is_lost_and_counted(sender):
    assert not sender.publish(RuntimeError("Failed to publish: cannot publish data, at /src/rmw_publish.cpp:120"))
    assert sender.publish("state") and sender.published == ["state"] and sender.refused == 1


def test_all_else_that_fails_is_raised(sender):
    with pytest.raises(RuntimeError, match="publisher is invalid"):
        sender.publish(RuntimeError("Failed to publish: publisher is invalid"))
    assert sender.refused == 0
