"""How alembic runs a migration here: on the connection that `anime_ai.storage` hands over, in its transaction."""

from alembic import context

from anime_ai.storage import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
