"""`humanoid demo`: launches a factory, has its orders carried out through ROS 2, and reports."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import Factory
from humanoid_control.nodes.factory_file import find_factory, find_factory_file
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import prepare_environment
from humanoid_control.ros.launched import launched

if TYPE_CHECKING:
    from humanoid_control.nodes.order_client import OrderClient

STOP_TIMEOUT_S = 330.0
VIDEO, LOG = "video.mp4", "launch.log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--factory", default="line_side", help="factory file, or the name of one in config/factories")
    parser.add_argument("--seed", type=int, default=0, help="of the episode drawn from the factory (default: 0)")
    parser.add_argument("--policy", default="scripted", help="who decides: scripted, learned or student (default: scripted)")
    parser.add_argument("--poses", default="oracle", metavar="RUNG",
                        help="who says where things are: oracle (the simulation's truth, default), fiducial, detector or tracker")  # fmt: skip
    parser.add_argument("--rate-factor", type=float, default=1.0,
                        help="simulated time over wall time (default: 1); lower where cameras are rendered slowly")  # fmt: skip
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
    if not args.rate_factor > 0.0:
        raise ConfigurationError(f"--rate-factor is {args.rate_factor:g}; it must be more than 0")
    folder = args.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (VIDEO, "report.html", "kpi.json"):
        (folder / name).unlink(missing_ok=True)
    use_domain(args.domain)
    console.print(f"factory {factory.name}, seed {args.seed}, {args.policy} policy, poses from {args.poses}: {len(factory.orders)} order(s), ROS domain "
                  f"{os.environ['ROS_DOMAIN_ID']}, log {_shown(folder / LOG)}")  # fmt: skip
    problem = ""
    with launched(_launch_arguments(args, path, folder), log=folder / LOG) as process:
        from humanoid_control.nodes.order_client import NodesError, OrderClient  # only once the domain is chosen

        client = OrderClient(factory, args.seed, trouble=lambda: _trouble(process, folder / LOG))
        try:
            _carry_out_orders(client, factory, console)
        except NodesError as error:
            problem = f"{error}; see {_shown(folder / LOG)}"
        finally:
            record = client.close()
        _stop(process, console, video=not args.no_video)
    return _report(record, folder, console, problem=problem, video=not args.no_video)


# --- the launch ---------------------------------------------------------------------------------------------------------


def _launch_arguments(args: argparse.Namespace, path: Path, folder: Path) -> list[str]:
    arguments = ["factory", f"factory:={path}", f"seed:={args.seed}", f"policy:={args.policy}", f"poses:={args.poses}", f"rate_factor:={args.rate_factor}"]
    return arguments if args.no_video else [*arguments, f"video:={folder / VIDEO}"]


def _trouble(process: subprocess.Popen, log: Path) -> str:
    """Why there is no use in waiting any longer; empty if there is."""
    return "" if process.poll() is None else f"the launch ended: {last_error(log)}"


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


def _carry_out_orders(client: OrderClient, factory: Factory, console: Console) -> None:
    """Sends every order, each after the one before has ended.

    Raises:
        NodesError: the nodes do not start, or one of them is gone.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting nodes", total=1.0)
        told = [""]

        def show(text: str, share: float = 0.0) -> None:
            progress.update(task, description=text, completed=share)
            if progress.disable and text != told[0]:
                console.print(text)
            told[0] = text

        show("starting nodes")
        client.wait_until_ready(factory.orders[0])
        for number, order in enumerate(factory.orders, 1):
            name = f"order {number}/{len(factory.orders)}, {order.tote} to {order.on or order.to}"
            record = client.carry_out(order, f"demo-{number}", show=lambda sub_task, share: show(f"{name}: {sub_task}", share))
            outcome = "done" if record.done else f"{record.reason}: {record.detail}"
            judge = f"; the judge: {record.judge_detail}" if record.judge_detail else ""
            console.print(f"{name}: {outcome} after {record.ended_s - record.began_s:.1f} s{judge}")


# --- the report ---------------------------------------------------------------------------------------------------------


def _report(record: Any, folder: Path, console: Console, *, problem: str, video: bool) -> int:
    from humanoid_control.report.page import figure_rows, write_report

    notes = [problem] if problem else []
    film = folder / VIDEO
    has_film = film.is_file() and film.stat().st_size > 0
    if video and not has_film:
        reason = last_error(folder / LOG, node="camera_node")
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


def last_error(log: Path, *, node: str = "") -> str:
    """What a launch's log says went wrong, without saying that it is an error: the first process that died, and its last word.

    Args:
        log: as the runner or `ros2 launch` writes it.
        node: whose errors are wanted; by default those of the first that died.
    """
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    died = next((line for line in lines if "died" in line and "exit code" in line and node in line), "")
    if died and not node:
        node = died.removeprefix("[launch] error: ").removeprefix("[ERROR] [").partition(" died")[0].partition("]")[0]
    own = [line for line in lines if node in line and ("error: " in line or "[ERROR]" in line or "Error" in line) and line != died]
    said = [*([died] if died else []), *own[-1:]]
    bare = [line.removeprefix("[launch] ").removeprefix("error: ").replace("] error: ", "] ", 1) for line in said or lines[-1:]]
    return "; ".join(bare) or "its log is empty"


def _shown(path: Path) -> str:
    """A path as short as it can be."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
