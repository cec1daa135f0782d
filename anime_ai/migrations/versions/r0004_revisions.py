"""Rows hold tags, a system line, a worse answer, drafts and their source; edits can be undone; snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rows") as rows:
        for name in ("system", "rejected", "source"):
            rows.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=""))
        rows.add_column(sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
        rows.add_column(sa.Column("draft", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "edits",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("dataset_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_edits"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_edits_dataset_id_datasets", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_edits_dataset_id_number", "edits", ["dataset_id", "number"], unique=True)
    op.create_table(
        "revisions",
        sa.Column("edit_id", sa.String(32), nullable=False),
        sa.Column("row_id", sa.String(32), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("edit_id", "row_id", name="pk_revisions"),
        sa.ForeignKeyConstraint(["edit_id"], ["edits.id"], name="fk_revisions_edit_id_edits", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["row_id"], ["rows.id"], name="fk_revisions_row_id_rows", ondelete="CASCADE"),
    )
    op.create_index("ix_revisions_row_id", "revisions", ["row_id"])
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("dataset_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_snapshots_dataset_id_datasets", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_snapshots_dataset_id_created", "snapshots", ["dataset_id", "created"])
