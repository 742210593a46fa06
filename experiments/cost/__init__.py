"""What generation and training cost: measurements, their tables and figures."""
