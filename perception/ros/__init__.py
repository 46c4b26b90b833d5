"""What perception says and hears through ROS."""
