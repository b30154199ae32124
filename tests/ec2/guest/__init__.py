"""What runs inside an instance: its first process, and the host's programs that user-data calls."""
