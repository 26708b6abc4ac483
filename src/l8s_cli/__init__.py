"""The command ``l8s``: parse, call the library, render. It knows `l8s_core` and no plugin.

Importing this package imports nothing; `l8s_cli.start` is the entry point.
"""
