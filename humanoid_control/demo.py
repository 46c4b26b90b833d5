"""`humanoid demo`: launches a factory, has its orders carried out through ROS 2, and reports."""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.nodes.factory_file import find_factory, find_factory_file
from humanoid_control.ros.environment import environment_for_children, prepare_environment

START_TIMEOUT_S = 120.0
VERDICT_TIMEOUT_S = 8.0
ORDER_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 330.0
DISCOVERY_PORT, PORTS_PER_DOMAIN = 7400, 250  # as RTPS has them
LAST_DOMAIN = 100  # above, the ports are those that Linux gives away
VIDEO, LOG = "video.mp4", "launch.log"


class DemoError(HumanoidControlError):
    """The demo cannot go on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--factory", default="line_side", help="factory file, or the name of one in config/factories")
    parser.add_argument("--seed", type=int, default=0, help="of the episode drawn from the factory (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for film, report and log (default: out/demo)")
    parser.add_argument("--no-video", action="store_true", help="do not film")
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID (default: a free one)")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 only if every order was done, by the action's result and by the judge's verdict."""
    console = Console(highlight=False, soft_wrap=True)
    prepare_environment()
    path = find_factory_file(args.factory)
    factory = find_factory(str(path))
    if not factory.orders:
        raise ConfigurationError(f"{path} has no orders to carry out")
    if args.seed < 0:
        raise ConfigurationError(f"--seed is {args.seed}; it must be 0 or more")
    folder = args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (VIDEO, "report.html", "kpi.json"):
        (folder / name).unlink(missing_ok=True)
    os.environ["ROS_DOMAIN_ID"] = str(args.domain if args.domain is not None else find_free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.pop("ROS_LOCALHOST_ONLY", None)  # deprecated, and it would win
    console.print(f"factory {factory.name}, seed {args.seed}: {len(factory.orders)} order(s), ROS domain "
                  f"{os.environ['ROS_DOMAIN_ID']}, log {_shown(folder / LOG)}")  # fmt: skip
    problem = ""
    with _launched(path, args.seed, folder, video=not args.no_video) as process:
        client = _Client(factory, args.seed, process, folder / LOG)
        try:
            _carry_out_orders(client, factory, console)
        except DemoError as error:
            problem = str(error)
        finally:
            record = client.close()
        _stop(process, console, video=not args.no_video)
    return _report(record, folder, console, problem=problem, video=not args.no_video)


def find_free_domain() -> int:
    """A ROS domain whose first port nobody uses.

    Raises:
        ConfigurationError: all are taken.
    """
    domains = list(range(1, LAST_DOMAIN + 1))
    random.SystemRandom().shuffle(domains)
    for domain in domains:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", DISCOVERY_PORT + PORTS_PER_DOMAIN * domain + 10))  # of the domain's first participant
            except OSError:
                continue
            return domain
    raise ConfigurationError("every ROS domain from 1 to 100 is in use; stop what you do not need, or name one with --domain")


# --- the launch ---------------------------------------------------------------------------------------------------------


@contextmanager
def _launched(path: Path, seed: int, folder: Path, *, video: bool) -> Iterator[subprocess.Popen]:
    """The factory, launched; whatever happens, no process stays behind."""
    command = [sys.executable, "-m", "humanoid_control.cli", "launch", "factory", f"factory:={path}", f"seed:={seed}"]
    if video:
        command.append(f"video:={folder / VIDEO}")
    with (folder / LOG).open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=environment_for_children(), start_new_session=True)  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30.0)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGTERM)
                    process.send_signal(signal.SIGTERM)  # the runner's last step: it kills what still runs
                    try:
                        process.wait(10.0)
                    except subprocess.TimeoutExpired:
                        process.kill()


def _stop(process: subprocess.Popen, console: Console, *, video: bool) -> None:
    """Ends the launch in good order; the film may still have to be finished."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    with _status(console, "stopping, and finishing the film" if video else "stopping"):
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            console.print(f"the launch did not end within {STOP_TIMEOUT_S:.0f} s; killing it")


def _status(console: Console, text: str):
    if console.is_terminal:
        return console.status(text)
    console.print(text)
    return nullcontext()


# --- the orders ---------------------------------------------------------------------------------------------------------


class _Client:
    """Sends orders to the action, and listens to everything that the report wants."""

    def __init__(self, factory: Factory, seed: int, process: subprocess.Popen, log: Path) -> None:
        import rclpy
        from humanoid_interfaces.action import CarryOutOrder
        from humanoid_interfaces.srv import CheckOrder
        from rclpy.action import ActionClient

        from humanoid_control.nodes.run_listener import RunListener
        from humanoid_control.ros import topics

        self._process, self._log = process, log
        rclpy.init()
        self._node = rclpy.create_node("demo")
        self.listener = RunListener(self._node, factory, seed)
        self.action = ActionClient(self._node, CarryOutOrder, topics.CARRY_OUT_ORDER)
        self._checker = self._node.create_client(CheckOrder, topics.CHECK_ORDER)
        self._began: tuple[float, float] | None = None

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Serves ROS until something is so.

        Raises:
            DemoError: it never is, or the launch has ended.
        """
        import rclpy

        until = time.monotonic() + timeout_s
        while not is_so():
            rclpy.spin_once(self._node, timeout_sec=0.05)
            self.listener.listen()
            if self._process.poll() is not None:
                raise DemoError(f"the launch ended: {last_error(self._log)}; see {_shown(self._log)}")
            if time.monotonic() > until:
                problems = "; ".join(f"{node}: {text}" for node, text in self.listener.newest_problem.items())
                raise DemoError(f"{what} for {timeout_s:.0f} s{f' ({problems})' if problems else ''}; see {_shown(self._log)}")

    def ask(self, future: Any, what: str) -> Any:
        """What a future brings."""
        self.wait_until(future.done, START_TIMEOUT_S, what)
        return future.result()

    def reason_against(self, message: Any) -> str:
        """Why an order would not be taken; empty if it would."""
        from humanoid_interfaces.srv import CheckOrder

        reply = self.ask(self._checker.call_async(CheckOrder.Request(order=message)), "the mission did not answer")
        return reply.reason

    def wait_until_ready(self, message: Any) -> None:
        """Waits until all nodes are up and would take an order.

        Raises:
            DemoError: they never are.
        """
        self.wait_until(self.action.server_is_ready, START_TIMEOUT_S, "no mission answered")
        self.wait_until(self._checker.service_is_ready, START_TIMEOUT_S, "no mission answered")
        until = time.monotonic() + START_TIMEOUT_S
        while (reason := self.reason_against(message)).startswith(("nothing was ever heard", "control_node", "policy_node")):
            if time.monotonic() > until:
                raise DemoError(f"the nodes did not start: {reason}; see {_shown(self._log)}")
            time.sleep(0.2)
        now = self.listener
        self.wait_until(lambda: now.now_s > 0.6, START_TIMEOUT_S, "the simulation did not run")
        self._began = time.monotonic(), now.now_s

    def close(self):
        """The record of the run; ROS is shut down."""
        import rclpy

        record = self.listener.finish()
        if self._began is not None:
            record.wall_s, record.simulated_s = time.monotonic() - self._began[0], self.listener.now_s - self._began[1]
        self._node.destroy_node()
        rclpy.try_shutdown()
        return record


def _carry_out_orders(client: _Client, factory: Factory, console: Console) -> None:
    """Sends every order, each after the one before has ended.

    Raises:
        DemoError: the nodes do not start, or one of them is gone.
    """
    from humanoid_control.ros.conversions import order_to_message

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting nodes", total=1.0)

        def show(text: str, share: float = 0.0) -> None:
            if not progress.disable:
                progress.update(task, description=text, completed=share)
            elif share == 0.0 or text != show.last:
                console.print(text)
            show.last = text

        show.last = ""
        show("starting nodes")
        client.wait_until_ready(order_to_message(factory.orders[0]))
        for index, order in enumerate(factory.orders):
            _carry_out(client, order, f"{index + 1}/{len(factory.orders)}", show, console)


def _carry_out(client: _Client, order: Order, number: str, show: Callable, console: Console) -> None:
    from humanoid_interfaces.action import CarryOutOrder

    from humanoid_control.report.run_record import OrderRecord
    from humanoid_control.ros.conversions import order_to_message

    name = f"{order.tote} to {order.on or order.to}"
    message = order_to_message(order, f"demo-{number.partition('/')[0]}")
    listener, began = client.listener, client.listener.now_s
    known = set(listener.verdicts)

    def told(feedback: Any) -> None:
        show(f"order {number}, {name}: {feedback.feedback.sub_task}", feedback.feedback.progress)

    reason = client.reason_against(message)
    if reason:
        listener.record.orders.append(OrderRecord(name, began, began, False, None, "refused", reason))
        console.print(f"order {number}, {name}: refused: {reason}")
        return
    goal = CarryOutOrder.Goal(order=message)
    handle = client.ask(client.action.send_goal_async(goal, feedback_callback=told), "the order was not answered")
    if not handle.accepted:
        listener.record.orders.append(OrderRecord(name, began, began, False, None, "refused", "see the log"))
        return
    future = handle.get_result_async()
    client.wait_until(future.done, ORDER_TIMEOUT_S, "the order did not end")
    result, ended = future.result().result, listener.now_s
    until = time.monotonic() + VERDICT_TIMEOUT_S
    client.wait_until(lambda: set(listener.verdicts) - known or time.monotonic() > until, 2 * VERDICT_TIMEOUT_S, "")
    verdict = next((listener.verdicts[key] for key in listener.verdicts if key not in known), None)
    judged = None if verdict is None else verdict.done
    seen = "no verdict" if verdict is None else verdict.detail if verdict.done else f"{verdict.reason}: {verdict.detail}"
    failure = result.reason or ("" if judged else "not_done" if verdict is None else verdict.reason)
    listener.record.orders.append(OrderRecord(name, began, ended, result.success, judged, failure, result.detail, seen))
    outcome = "done" if result.success else f"{result.reason}: {result.detail}"
    console.print(f"order {number}, {name}: {outcome} after {result.duration:.1f} s; the judge: {seen}")


# --- the report ---------------------------------------------------------------------------------------------------------


def _report(record: Any, folder: Path, console: Console, *, problem: str, video: bool) -> int:
    from humanoid_control.report.page import figure_rows, write_report

    notes = [problem] if problem else []
    film = folder / VIDEO
    has_film = film.is_file() and film.stat().st_size > 0
    if video and not has_film:
        reason = last_error(folder / LOG, marks=("camera_node", "[ERROR]"))
        notes.append(f"no film: {reason}")
        console.print(f"no film: {reason}")
    with _status(console, "drawing plots"):
        page = write_report(record, folder, video=VIDEO if has_film else None, notes=tuple(notes))
    table = Table(title="key figures", show_header=False)
    for row in figure_rows(record.key_figures()):
        table.add_row(*row)
    console.print(table)
    for path in (film if has_film else None, page, page.with_name("kpi.json")):
        if path is not None:
            console.print(f"wrote {_shown(path)}")
    count = len(record.factory.orders)
    done = sum(order.success for order in record.orders)
    if problem:
        print(f"error: {problem}", file=sys.stderr)
    if done == count and not problem:
        console.print(f"all {count} order(s) done")
        return 0
    console.print(f"{done} of {count} order(s) done; the log is {_shown(folder / LOG)}")
    return 1


def last_error(log: Path, *, marks: tuple[str, ...] = ()) -> str:
    """The line of a launch's log that says best what went wrong."""
    lines = log.read_text(errors="replace").splitlines()
    for wanted in ((*marks,),) if marks else (("error: ",), ("[ERROR]",), ("Error",)):
        found = [line for line in lines if all(mark in line for mark in wanted) and "died: exit code" not in line]
        if found:
            return found[-1].strip()
    return lines[-1].strip() if lines else "its log is empty"


def _shown(path: Path) -> str:
    """A path as short as it can be."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
