"""The command line and the terminal app: reads the store, starts processes."""
