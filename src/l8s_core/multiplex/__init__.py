"""Multiplexing between commands: a process that keeps a connection open, and serves it to the commands that come.

`l8s_core.multiplex.held` is what a command uses in the place of a backend; `l8s_core.multiplex.holder` is the process.
They talk over a unix socket (`wire`, `values`) in a place that is the user's alone (`place`). What makes a connection
one that may be used, the proof that the server is another machine first of all, is done by the holder before it serves.
"""
