"""Who, may, secrets, how much: sign-in by keys and by the local token."""
