"""From which shown picture a character's picture was learned, "" for one that was enrolled by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("character_pictures") as pictures:
        pictures.add_column(sa.Column("learned_from", sa.String(32), nullable=False, server_default=""))
