"""Runs `launch/*.launch.py` where ROS 2's own launch is not installed.

The files are plain launch_ros files. `stand_in` gives them the few modules they import, `substitutions`, `actions` and
`node` are what those modules hold, and `service` starts and watches the processes. Names, arguments and behaviour are
those of launch and launch_ros; whatever is not here is refused by name.
"""
