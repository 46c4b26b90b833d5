"""ROS nodes: thin, and one module, executable and parameter file each."""
