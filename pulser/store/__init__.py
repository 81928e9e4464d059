"""The SQL: tables, one file per noun, and what differs between SQLite and Postgres."""
