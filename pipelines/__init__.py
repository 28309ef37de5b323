"""What a user runs: the command line, the Ray Data graph, configuration, plan and keys."""
