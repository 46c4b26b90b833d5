"""Everything that knows ROS 2: its environment, interfaces, topics, messages and launch files."""
