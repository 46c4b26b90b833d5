"""How the networks of `perception` come about: simulated images, training, export. Never needed by the robot."""
