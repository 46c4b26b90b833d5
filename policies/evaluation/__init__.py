"""Carrying out many episodes and counting: what `humanoid evaluate` is made of."""
