"""The operator's page: what a browser sees and does, and how little it may; knows no ROS."""
