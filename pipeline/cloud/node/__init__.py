"""What runs on the instances of a cluster: scheduler and jobs on the head, quanta on the workers."""
