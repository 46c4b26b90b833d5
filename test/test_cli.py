"""The command line: quick help, one-line errors, honest exit codes."""

import subprocess
import sys
import types

import pytest

from humanoid_control import cli
from humanoid_control.errors import OrderError


@pytest.fixture
def command(monkeypatch):
    """A subcommand `try` whose `run` is given."""

    def make(run):
        module = types.SimpleNamespace(add_arguments=lambda parser: parser.add_argument("--count", type=int), run=run)
        monkeypatch.setitem(sys.modules, "trial_command", module)
        monkeypatch.setattr(cli, "COMMANDS", {"try": ("trial_command", "try something")})

    return make


def raise_error(error):
    raise error


def test_exit_code_is_the_commands(command):
    command(lambda args: args.count)
    assert cli.main(["try", "--count", "7"]) == 7


def test_our_own_errors_are_one_line(command, capsys):
    command(lambda args: raise_error(OrderError("unknown tote 't9'; there is t1")))
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == "error: unknown tote 't9'; there is t1\n"


def test_interrupt_is_told_by_the_exit_code(command):
    command(lambda args: raise_error(KeyboardInterrupt()))
    assert cli.main(["try"]) == 130


@pytest.mark.parametrize("arguments", [[], ["tri"], ["try", "--count", "many"], ["try", "--nothing"]])
def test_wrong_usage_is_two(command, arguments, capsys):
    command(lambda args: 0)
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "usage: humanoid" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom humanoid_control import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit as e:\n"
        "    print(e.code, sorted({'numpy', 'mujoco', 'pinocchio', 'rclpy', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    for name in cli.COMMANDS:
        assert name in done.stdout


def test_reader_that_has_gone_is_no_traceback(tmp_path):
    code = (
        "import sys, types\nfrom humanoid_control import cli\n"
        "def run(args):\n    for _ in range(100000): print('line')\n    return 0\n"
        "sys.modules['trial_command'] = types.SimpleNamespace(add_arguments=lambda p: None, run=run)\n"
        "cli.COMMANDS = {'try': ('trial_command', 'try')}\nsys.exit(cli.main(['try']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 1
