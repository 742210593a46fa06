"""What generation and training cost: measurements, their tables, figures and verdicts."""
