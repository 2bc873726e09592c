"""The networks, apart from what trains them."""
