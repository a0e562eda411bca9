"""Where a study is kept: a journal file, an SQL database, or Redis."""
