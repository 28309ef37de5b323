"""What is seen of a run from outside: its figures while it goes on and at its end, metrics, logs, a hook."""
