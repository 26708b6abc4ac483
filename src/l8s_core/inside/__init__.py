"""What l8s puts into a container: small POSIX sh programs, and sshd's configuration."""
