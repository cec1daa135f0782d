"""Conversations as trees: the line that is shown, pins, settings; how answers are drawn; what was thought of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0006"
branch_labels = None
depends_on = None

NEWEST = """
UPDATE conversations SET leaf_id = (
    SELECT id FROM messages WHERE messages.conversation_id = conversations.id ORDER BY created DESC LIMIT 1
)
"""


def upgrade() -> None:
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"))
        conversations.add_column(sa.Column("leaf_id", sa.String(32), nullable=True))
        conversations.add_column(sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
        conversations.add_column(sa.Column("opened", sa.Double(), nullable=False, server_default="0"))
        conversations.drop_column("closed")
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("visited", sa.Double(), nullable=False, server_default="0"))
    op.execute(NEWEST)
    op.execute("UPDATE conversations SET opened = updated")
    op.execute("UPDATE messages SET visited = created")
    op.create_table(
        "samplings",
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("persona", sa.String(300), nullable=False),
        sa.Column("told", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("person", "persona", name="pk_samplings"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("person", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("row_id", sa.String(32), nullable=True),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.ForeignKeyConstraint(["row_id"], ["rows.id"], name="fk_feedback_row_id_rows", ondelete="SET NULL"),
    )
    op.create_index("ix_feedback_person_message_id", "feedback", ["person", "message_id"])
    op.create_index("ix_feedback_row_id", "feedback", ["row_id"])
