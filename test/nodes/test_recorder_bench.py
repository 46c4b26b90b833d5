"""`humanoid bench recorder` in its quick form: the real node under the real load, and killed."""

import json
import subprocess
import sys


def test_under_full_load_nothing_is_missing_and_a_kill_costs_less_than_a_second(tmp_path):
    out = tmp_path / "rows.json"
    done = subprocess.run([sys.executable, "-m", "humanoid_control.cli", "bench", "recorder", "--quick", "--json", str(out)],
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row["value"] for row in json.loads(out.read_text())["rows"]}
    assert rows["messages missing in the bag"] == 0 and rows["messages sent"] > 2000
    assert rows["kill -9 in an episode: the file opens"] == 1.0 and rows["earlier episodes harmed"] == 0
    assert rows["lost at the most"] < 1.0
