"""What happened, on disk as it came: episodes that are whole or not there, and a black box of the last minute."""
