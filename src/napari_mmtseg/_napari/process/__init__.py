"""The training process: its jobs, its messages, what it labels and writes."""
