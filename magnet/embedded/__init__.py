"""The servers that come as wheels, PostgreSQL and Valkey, and the folder that they live in."""
