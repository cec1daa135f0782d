"""Training runs: recipe, run folder, trainer (a child process), queue, evaluation. Knows no page."""
