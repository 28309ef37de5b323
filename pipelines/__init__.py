"""What a user runs: the command line, the Ray Data graph, configuration, plan, keys and the record of a run."""
