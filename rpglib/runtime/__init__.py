"""Files, state dicts, hardware, memory, threads and processes: what the method runs on."""
