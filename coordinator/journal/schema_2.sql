-- What schema version 2 adds: proofs, and the audit log's tree and checkpoints.
--
-- `evidence` is the truth like `records` and `attempts`. `log_nodes` is derived from records by
-- tree.py. `checkpoints` are derived from nothing: a signature is a statement of its moment, and it
-- is what tells later whether records were exchanged.

-- Proofs in a form of proofs/README.md, under the SHA-256 by which a `proved` record names them.
CREATE TABLE evidence (
    sha256 BLOB NOT NULL PRIMARY KEY,
    body   BLOB NOT NULL
) STRICT;

-- Node `idx` of a level covers the records at positions idx·2^level + 1 … (idx + 1)·2^level. Only
-- nodes whose records all exist are kept, so none ever changes. Level 0 is not kept: the hash of a
-- leaf is made from its record.
CREATE TABLE log_nodes (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Signed notes (proofs/checkpoint.py), one per size for ever. `at_ms` is when it was signed, or when
-- an idle process last said that nothing was added since.
CREATE TABLE checkpoints (
    size  INTEGER NOT NULL PRIMARY KEY,
    root  BLOB    NOT NULL,
    note  BLOB    NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- INDEXES (a reader of an older file does without what follows)

-- Not IN: SQLite would build a table of the three values each time a row is written.
DROP INDEX open_sagas;
CREATE INDEX open_sagas ON sagas (saga)
WHERE state = 'running' OR state = 'confirming' OR state = 'undoing';
