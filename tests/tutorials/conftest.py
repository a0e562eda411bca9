"""What a tutorial may need beside bertrec: a PostgreSQL server of its own."""

from postgresql_server import postgresql, postgresql_url  # noqa: F401 -- fixtures
