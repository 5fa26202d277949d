"""What speaks to a service from elsewhere: its API as Python, and the commands. Knows nothing of its insides."""
