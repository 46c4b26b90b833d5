"""From what an operator's hands and sticks do to what the whole body shall do."""
