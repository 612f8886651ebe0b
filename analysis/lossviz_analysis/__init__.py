"""What the daemon and the screen both stand on.

Four parts that never import each other: `classwise` (functions of confusion matrices),
`surfaces` (functions of scanned loss surfaces), `weightspace` (functions of parameters, torch)
and `store` (the only code that knows Zarr and paths). `arrays` and `errors` lie below all of
them.
"""
