"""Background jobs: procrastinate on the node's own PostgreSQL."""
