"""`python -m humanoid_control.bench WHAT`: the same as `humanoid bench WHAT`."""

import argparse
import sys

from humanoid_control import bench
from humanoid_control.errors import HumanoidControlError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m humanoid_control.bench", description=bench.__doc__.splitlines()[0])
    bench.add_arguments(parser)
    try:
        sys.exit(bench.run(parser.parse_args()))
    except HumanoidControlError as error:
        sys.exit(f"error: {error}")
