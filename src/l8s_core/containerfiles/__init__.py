"""The Containerfiles that l8s ships: what `l8s build` builds on the server."""
