"""The server itself: the script that sets it up (``setup-server.sh``), and running that (`l8s_core.server.setup`)."""
