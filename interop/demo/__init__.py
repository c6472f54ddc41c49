"""The main job as a demonstration: a day on a real grid, with every counterpart in its own process."""
