"""The tables on PostgreSQL: those of an earlier version are upgraded, and what they hold stays."""

from __future__ import annotations

from importlib import resources
from typing import Any

from psycopg import sql

from gateway.storage import postgres_connection as postgres

COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_schema = $1 ORDER BY 1, 2"
)


def test_tables_of_version_1_become_those_of_a_new_database(postgres_server: Any) -> None:
    """With the configs that were recorded; a gateway of version 1 can go on with them."""
    old, new = postgres_server.new_schema(), postgres_server.new_schema()
    raw = postgres.connect(postgres_server.url(), pooled=False, name="test")
    script: Any = resources.files("gateway.storage").joinpath("schema", "postgres-v1.sql").read_text("utf-8")
    with raw.transaction():
        raw.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(old)))
        raw.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(old)))
        raw.execute(script, prepare=False)
        raw.execute("CREATE TABLE about (schema integer NOT NULL, readable_from integer NOT NULL)")
        raw.execute("INSERT INTO about VALUES (1, 1)")
        raw.execute("INSERT INTO configs VALUES ('shop', '\"1\"', '{}', 7, 3)")
    for schema in (old, new, old):
        postgres.migrate(raw, schema)
    upgraded, created = (
        [tuple(str(value).replace(schema, "schema") for value in row) for row in raw.execute(COLUMNS, (schema,))]
        for schema in (old, new)
    )
    assert created == upgraded
    postgres.stay_in(raw, old)
    assert [("shop", 3, "", 0)] == raw.execute("SELECT sdk_id, version, key, place FROM configs").fetchall()
    assert [(postgres.VERSION, 1)] == raw.execute("SELECT schema, readable_from FROM about").fetchall()
    raw.close()
