"""Networks for tasks that a generator never saw, and words that name a task."""
