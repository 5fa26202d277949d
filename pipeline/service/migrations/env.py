"""Alembic's way in: `pipeline.service.database.Database.upgrade` hands it an open connection.

Migrations are written by hand, one file each under `versions/`, numbered; a test holds what they come to against
`pipeline.service.tables`.
"""

from alembic import context

from pipeline.service.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
