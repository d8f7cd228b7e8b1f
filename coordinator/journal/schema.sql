-- The journal's tables, schema version 1; schema_2.sql adds to them.
--
-- `records` and `attempts` are the truth. Everything below them is derived from records by
-- derive.py and can be thrown away and rebuilt. Tables whose whole row is their key carry no rowid.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One line of the audit log each. `body` is canonical JSON and holds time, version and the hash of
-- the stream's previous record; `hash` is the SHA-256 of `body`. UNIQUE (stream, sseq) is the fence.
CREATE TABLE records (
    position INTEGER NOT NULL PRIMARY KEY,
    stream   TEXT    NOT NULL,
    sseq     INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    hash     BLOB    NOT NULL,
    body     BLOB    NOT NULL,
    UNIQUE (stream, sseq)
) STRICT;

-- Signed bytes, under the position of the first intent that names them by hash.
CREATE TABLE attempts (
    position INTEGER NOT NULL PRIMARY KEY,
    tx       TEXT    NOT NULL UNIQUE,
    raw      BLOB    NOT NULL
) STRICT;

-- Nonces and coins, for ever: what an intent consumed is never given again.
CREATE TABLE claims (
    chain     TEXT    NOT NULL,
    resource  TEXT    NOT NULL,
    value     INTEGER NOT NULL,
    stream    TEXT    NOT NULL,
    step      TEXT    NOT NULL,
    direction TEXT    NOT NULL,
    PRIMARY KEY (chain, resource, value)
) STRICT, WITHOUT ROWID;

-- What open sagas have set aside; amounts are decimal strings in base units.
CREATE TABLE reservations (
    saga    TEXT NOT NULL,
    chain   TEXT NOT NULL,
    account TEXT NOT NULL,
    asset   TEXT NOT NULL,
    amount  TEXT NOT NULL,
    PRIMARY KEY (saga, chain, account, asset)
) STRICT, WITHOUT ROWID;

CREATE TABLE locks (
    resource TEXT NOT NULL PRIMARY KEY,
    saga     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX locks_of_saga ON locks (saga);

-- One row per saga, for ever, because its key is taken for ever. `driver` is a hint that only the
-- operating system can confirm (liveness.py).
CREATE TABLE sagas (
    saga       TEXT    NOT NULL PRIMARY KEY,
    plan       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    key        TEXT    NOT NULL UNIQUE,
    state      TEXT    NOT NULL,
    decision   TEXT,
    stuck      INTEGER NOT NULL,
    paused     INTEGER NOT NULL,
    deadline_s INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    driver     TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX open_sagas ON sagas (saga) WHERE state IN ('running', 'confirming', 'undoing');
