"""An executor for nodes that look for most of their messages themselves (`nodes/polled.py`).

rclpy gathers all that a node has anew whenever it waits, 0.5 to 1 ms of CPU for a node with forty entities, and as much again to
call a timer: at 250 Hz a quarter of a core goes into waiting. Here the node's `look` is called by the clock, and ROS's own
callbacks (services, answers, slow timers) have their turn less often, all in one thread as before.
"""

from __future__ import annotations

import time

from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException

CALLBACKS_EVERY_S = 0.03  # how long a service waits at the most, and the precision of timers


class PollingExecutor(SingleThreadedExecutor):
    """Spins nodes that have `look()`, called every so often."""

    def __init__(self, period_s: float) -> None:
        """Makes the executor.

        Args:
            period_s: from one look to the next; one that comes late shifts those after it.
        """
        super().__init__()
        self._period_s = period_s

    def spin(self) -> None:
        """Looks, and executes callbacks, until ROS ends."""
        look_s = callbacks_s = time.monotonic()
        while self._context.ok() and not self._is_shutdown:
            for node in self.get_nodes():
                node.look()
            look_s = max(look_s + self._period_s, time.monotonic())
            if time.monotonic() >= callbacks_s:
                callbacks_s = time.monotonic() + CALLBACKS_EVERY_S
                self._execute_until(look_s)
            time.sleep(max(look_s - time.monotonic(), 0.0))

    def _execute_until(self, until_s: float) -> None:
        """Executes what is ready, or the beginning of it: what takes longer goes on after the next look.

        A coroutine that waits for something is ready all the time, and may wait for what a look brings.
        """
        while True:
            try:
                handler, _, _ = self.wait_for_ready_callbacks(timeout_sec=0.0)
            except (TimeoutException, ShutdownException):
                return
            handler()
            handler.result()  # raises what it raised
            if time.monotonic() >= until_s:
                return
