"""PipelineTasks that look at what ISR has made."""
