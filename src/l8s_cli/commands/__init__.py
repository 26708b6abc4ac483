"""The subcommands, one module for each noun, imported when they are used (`l8s_cli.main`)."""
