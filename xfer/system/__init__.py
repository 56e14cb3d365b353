"""Files, locks, threads, processes, signals, memory and downloads: what any program needs."""
