"""What a manifest will take before anything is spent on it: work, time, memory, storage, money."""
