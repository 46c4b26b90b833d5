"""Publishing where DDS does not take a message."""

import pytest

from humanoid_control.ros.qos import try_publish


class Publisher:
    def __init__(self, error=None):
        self.error, self.published = error, []

    def publish(self, message):
        if self.error is not None:
            raise self.error
        self.published.append(message)


def test_a_message_that_dds_does_not_take_in_time_is_lost_and_told():
    publisher = Publisher()
    assert try_publish(publisher, "state") and publisher.published == ["state"]
    assert not try_publish(Publisher(RuntimeError("Failed to publish: cannot publish data, at /src/rmw_publish.cpp:120")), "state")


def test_all_else_that_fails_is_raised():
    with pytest.raises(RuntimeError, match="publisher is invalid"):
        try_publish(Publisher(RuntimeError("Failed to publish: publisher is invalid")), "state")
