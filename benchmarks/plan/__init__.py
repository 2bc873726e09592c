"""What a large image costs, from measured figures."""
