"""Training of learned policies; needs PyTorch, which the robot does not."""
