"""What a run looked like: a page with plots, and its key figures."""
