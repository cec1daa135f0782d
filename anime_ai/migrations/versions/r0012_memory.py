"""What a persona remembers of a person, and whether she may keep it by herself."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "memories",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("persona", sa.String(300), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_memories_message_id_messages", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_memories"),
    )
    op.create_index("ix_memories_person_persona", "memories", ["person", "persona"])
    op.create_index("ix_memories_message_id", "memories", ["message_id"])
    op.create_table(
        "memory_ways",
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("persona", sa.String(300), nullable=False),
        sa.Column("way", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("person", "persona", name="pk_memory_ways"),
    )
