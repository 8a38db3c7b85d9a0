"""The machine and the process: processor, speed, memory, threads, and the words of errors."""
