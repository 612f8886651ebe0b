"""The run on disk: the only code that knows Zarr and paths.

`schema` documents the tree and does no I/O. `writer` and `scans` write it, `reader` and `scans`
read it, `jobs` passes scan requests from whoever asks to whoever computes. The store is the
only channel between processes.
"""
