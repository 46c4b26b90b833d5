"""`humanoid bench teleoperation` in its quick form: real nodes of a launch file, driven and timed."""

import json
import subprocess
import sys


def bench(*arguments):
    return subprocess.run([sys.executable, "-m", "humanoid_control.cli", "bench", "teleoperation", *arguments],
                          capture_output=True, text=True, timeout=300)  # fmt: skip


def test_every_input_is_timed_to_the_command_that_it_changes(tmp_path):
    out = tmp_path / "rows.json"
    done = bench("--quick", "--case", "to control", "--json", str(out))
    assert done.returncode == 0, done.stderr
    rows = {row["name"].removeprefix("to control: "): row for row in json.loads(out.read_text())["rows"]}
    for what in ("hand to arm's command", "trigger to whole_body_target", "trigger to gripper's command"):
        assert rows[what]["unit"] == "ms" and 0.0 < rows[what]["p50"] <= rows[what]["p95"] <= rows[what]["p99"]
    assert rows["not answered within 0.5 s"]["n"] == 6
    assert "load average" in done.stdout


def test_a_case_that_there_is_not_is_refused_with_those_there_are():
    done = bench("--case", "to nowhere")
    assert done.returncode == 1 and "no case 'to nowhere'" in done.stderr and "through the policy, video" in done.stderr
