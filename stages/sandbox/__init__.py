"""Where a stranger's bytes are parsed: a process for each file, with limits, that can reach nothing else."""
