"""SQLite files that webhooks and the exporter share: one writer thread, migrations, lock, paths."""
