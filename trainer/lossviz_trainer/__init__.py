"""Everything that runs as a GPU process: models, data, training daemon, scan worker."""
