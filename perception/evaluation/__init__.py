"""What perception is worth in whole episodes: true views, errors, figures. Privileged, and never on the robot."""
