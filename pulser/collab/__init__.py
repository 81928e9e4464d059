"""Working together: the board and leases on anything."""
