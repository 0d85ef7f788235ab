"""Guest programs, made anew for each run."""
