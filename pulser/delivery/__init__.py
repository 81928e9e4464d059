"""Wake-ups between processes: hints that follow a commit. One that is lost costs a poll, never a task."""
