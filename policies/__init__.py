"""Everything that produces whole-body targets, behind one interface; and what trains, runs and evaluates it."""
