"""What all tests share."""

import signal
from pathlib import Path

HERE = Path(__file__).parent
# Tests with nodes, programs or a network: what they see depends on when, so nothing else may take the cores meanwhile.
REAL_TIME = ("bench", "launch", "nodes", "operator_page", "ros", "recording/test_recorder.py", "test_cli.py", "test_demo.py", "test_set_up.py")
PARTS = ("all", "computing", "real_time")

# Started in the background of a script, Python inherits SIGINT ignored, and so does every process that a test starts and
# means to interrupt. A handler of our own is not inherited: children begin with the default again.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    """`scripts/test.sh` runs the two parts one after the other, the first on all cores."""
    parser.addoption("--part", choices=PARTS, default=PARTS[0], help="tests that only compute, or those that keep time")


def pytest_collection_modifyitems(config, items):
    """Leaves out the tests of the other part."""
    part = config.getoption("--part")
    if part == "all":
        return
    ours = [item for item in items if _keeps_time(item.path) == (part == "real_time")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(ours)])
    items[:] = ours


def _keeps_time(path):
    inside = path.relative_to(HERE).as_posix()
    return any(inside == name or inside.startswith(f"{name}/") for name in REAL_TIME)
