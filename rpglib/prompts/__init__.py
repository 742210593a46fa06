"""Words to a task: a grammar over attributes of classes, or a language model."""
