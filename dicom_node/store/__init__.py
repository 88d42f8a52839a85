"""PostgreSQL: studies, findings, vectors, reports, audit."""
