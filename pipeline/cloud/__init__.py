"""Clusters of EC2 machines that end by themselves: made, watched, changed and ended by ``isr-cluster``."""
