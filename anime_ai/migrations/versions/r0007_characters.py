"""A document says how long it is, so that a list of documents reads no texts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("documents") as documents:
        documents.add_column(sa.Column("characters", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE documents SET characters = length(text)")
