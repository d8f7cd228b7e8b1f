-- Every statement of the journal, under the name by which the code calls it (statements.py).
-- Parameters are positional; their order is the order of the columns unless a note says otherwise.

-- name: last_position
SELECT coalesce(max(position), 0) FROM records;

-- name: head
-- ?1 stream, ?2 saga of that stream or NULL
SELECT r.sseq, r.hash, coalesce((SELECT stuck FROM sagas WHERE saga = ?2), 0)
FROM records r WHERE r.stream = ?1 ORDER BY r.sseq DESC LIMIT 1;

-- name: record_insert
INSERT INTO records (position, stream, sseq, kind, hash, body) VALUES (?, ?, ?, ?, ?, ?);

-- name: records_of_stream
-- ?1 stream, ?2 first sseq wanted
SELECT position, stream, sseq, kind, hash, body FROM records
WHERE stream = ?1 AND sseq >= ?2 ORDER BY sseq;

-- name: first_body
SELECT body FROM records WHERE stream = ? AND sseq = 1;

-- name: records_from
-- ?1 first position wanted
SELECT position, stream, sseq, kind, hash, body FROM records WHERE position >= ?1 ORDER BY position;

-- name: record_at
SELECT position, stream, sseq, kind, hash, body FROM records WHERE position = ?;

-- name: tail
-- ?1 last position known
SELECT position, stream, sseq FROM records WHERE position > ?1 ORDER BY position;

-- name: streams
-- ?1 first name, ?2 first name after the prefix
SELECT DISTINCT stream FROM records WHERE stream >= ?1 AND stream < ?2 ORDER BY stream;

-- name: attempt_insert
INSERT INTO attempts (position, tx, raw) VALUES (?, ?, ?);

-- name: attempt_raw
SELECT raw FROM attempts WHERE tx = ?;

-- name: attempt_with_intent
SELECT a.raw, r.position, r.stream, r.sseq, r.kind, r.hash, r.body
FROM attempts a LEFT JOIN records r ON r.position = a.position WHERE a.tx = ?;

-- name: attempts_without_intent
SELECT a.position, a.tx FROM attempts a LEFT JOIN records r ON r.position = a.position
WHERE r.kind IS NOT 'intent' ORDER BY a.position;

-- name: claim_insert
INSERT INTO claims (chain, resource, value, stream, step, direction) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: claim_owner
SELECT stream, step, direction FROM claims WHERE chain = ? AND resource = ? AND value = ?;

-- name: claim_top
-- ?1 chain, ?2 resource
SELECT coalesce(max(value), -1) FROM claims WHERE chain = ?1 AND resource = ?2;

-- name: claims_of_chain
SELECT chain, resource, value, stream, step, direction FROM claims
WHERE chain = ? ORDER BY resource, value;

-- name: reservation_insert
INSERT INTO reservations (saga, chain, account, asset, amount) VALUES (?, ?, ?, ?, ?);

-- name: reservations_delete
DELETE FROM reservations WHERE saga = ?;

-- name: reservations_all
SELECT saga, chain, account, asset, amount FROM reservations;

-- name: reservations_of_chain
SELECT saga, chain, account, asset, amount FROM reservations
WHERE chain = ? ORDER BY saga, account, asset;

-- name: lock_insert
INSERT INTO locks (resource, saga) VALUES (?, ?);

-- name: lock_owner
SELECT saga FROM locks WHERE resource = ?;

-- name: locks_between
-- ?1 first name, ?2 first name after the prefix
SELECT resource, saga FROM locks WHERE resource >= ?1 AND resource < ?2 ORDER BY resource;

-- name: lock_keep
INSERT INTO locks (resource, saga) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: brought_insert
-- A lock like any other; its name says that the sums of reservations follow it.
INSERT INTO locks (resource, saga) VALUES (?, ?);

-- name: brought_keep
-- While the saga is open it is there already.
INSERT INTO locks (resource, saga) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: locks_delete
DELETE FROM locks WHERE saga = ?;

-- name: saga_insert
INSERT INTO sagas (saga, plan, digest, key, deadline_s, started_ms, driver, state, stuck, paused)
VALUES (?, ?, ?, ?, ?, ?, ?, 'running', 0, 0);

-- name: saga_decided
-- ?1 decision, ?2 state, ?3 saga
UPDATE sagas SET decision = ?1, state = ?2 WHERE saga = ?3;

-- name: saga_closed
-- ?1 state, ?2 saga
UPDATE sagas SET state = ?1 WHERE saga = ?2;

-- name: saga_reopened
-- A saga that opens again goes on in the direction that was decided once and for all.
UPDATE sagas SET state = CASE decision
    WHEN 'commit' THEN 'confirming' WHEN 'rollback' THEN 'undoing' ELSE 'running' END
WHERE saga = ?;

-- name: saga_stuck
-- ?1 flag, ?2 saga
UPDATE sagas SET stuck = ?1 WHERE saga = ?2;

-- name: saga_paused
-- ?1 flag, ?2 saga
UPDATE sagas SET paused = ?1 WHERE saga = ?2;

-- name: saga_driver
-- ?1 instance or NULL, ?2 saga
UPDATE sagas SET driver = ?1 WHERE saga = ?2;

-- name: saga_of_key
SELECT saga FROM sagas WHERE key = ?;

-- name: sagas_all
-- Sequence and time of the last record are read from the record itself.
SELECT s.saga, s.plan, s.digest, s.key, s.state, s.stuck, s.paused, s.deadline_s, s.started_ms,
       CAST(json_extract(CAST(r.body AS TEXT), '$.at') AS INTEGER), r.sseq, s.driver
FROM sagas s JOIN records r ON r.stream = 'saga:' || s.saga
    AND r.sseq = (SELECT max(sseq) FROM records WHERE stream = 'saga:' || s.saga)
ORDER BY s.started_ms, s.saga;

-- name: sagas_open
SELECT s.saga, s.plan, s.digest, s.key, s.state, s.stuck, s.paused, s.deadline_s, s.started_ms,
       CAST(json_extract(CAST(r.body AS TEXT), '$.at') AS INTEGER), r.sseq, s.driver
FROM sagas s JOIN records r ON r.stream = 'saga:' || s.saga
    AND r.sseq = (SELECT max(sseq) FROM records WHERE stream = 'saga:' || s.saga)
-- In the words of the index, else SQLite would not use it.
WHERE s.state = 'running' OR s.state = 'confirming' OR s.state = 'undoing'
ORDER BY s.started_ms, s.saga;

-- name: sagas_after
-- Those with a record past a position: it begins with these records (so the plus), and of older
-- ones it reads nothing.
SELECT s.saga, s.plan, s.digest, s.key, s.state, s.stuck, s.paused, s.deadline_s, s.started_ms,
       CAST(json_extract(CAST(r.body AS TEXT), '$.at') AS INTEGER), r.sseq, s.driver
FROM records r CROSS JOIN sagas s ON s.saga = substr(r.stream, 6)
WHERE r.position > ? AND +r.stream >= 'saga:' AND +r.stream < 'saga;'
    AND r.sseq = (SELECT max(sseq) FROM records WHERE stream = r.stream)
ORDER BY s.started_ms, s.saga;

-- name: saga_with_key
SELECT s.saga, s.plan, s.digest, s.key, s.state, s.stuck, s.paused, s.deadline_s, s.started_ms,
       CAST(json_extract(CAST(r.body AS TEXT), '$.at') AS INTEGER), r.sseq, s.driver
FROM sagas s JOIN records r ON r.stream = 'saga:' || s.saga
    AND r.sseq = (SELECT max(sseq) FROM records WHERE stream = 'saga:' || s.saga)
WHERE s.key = ?;

-- name: saga_row
SELECT s.saga, s.plan, s.digest, s.key, s.state, s.stuck, s.paused, s.deadline_s, s.started_ms,
       CAST(json_extract(CAST(r.body AS TEXT), '$.at') AS INTEGER), r.sseq, s.driver
FROM sagas s JOIN records r ON r.stream = 'saga:' || s.saga
    AND r.sseq = (SELECT max(sseq) FROM records WHERE stream = 'saga:' || s.saga)
WHERE s.saga = ?;

-- name: meta_get
SELECT value FROM meta WHERE name = ?;

-- name: meta_put
INSERT INTO meta (name, value) VALUES (?, ?);

-- name: meta_set
-- ?1 value, ?2 name
UPDATE meta SET value = ?1 WHERE name = ?2;

-- name: streams_with_open_claims
-- What follows in the stream may have closed the claim: the caller folds it. The plus keeps SQLite
-- from going through the streams in their order, past positions or not.
SELECT DISTINCT +stream FROM records
WHERE position > ? AND kind = 'not_done' AND instr(CAST(body AS TEXT), '"claim_open":true') > 0;

-- name: evidence_insert
INSERT INTO evidence (sha256, body) VALUES (?, ?);

-- name: evidence_body
SELECT body FROM evidence WHERE sha256 = ?;

-- name: evidence_known
SELECT 1 FROM evidence WHERE sha256 = ?;

-- name: evidence_names
SELECT sha256 FROM evidence ORDER BY sha256;

-- name: node_insert
INSERT INTO log_nodes (level, idx, hash) VALUES (?, ?, ?);

-- name: node_hash
SELECT hash FROM log_nodes WHERE level = ? AND idx = ?;

-- name: nodes_between
-- ?1 level, ?2 first idx, ?3 first idx after them
SELECT idx, hash FROM log_nodes WHERE level = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx;

-- name: nodes_from
-- ?1 level, ?2 first idx
SELECT idx FROM log_nodes WHERE level = ?1 AND idx >= ?2 ORDER BY idx;

-- name: nodes_outside
-- ?1 highest level that a log of this size has
SELECT level, idx FROM log_nodes WHERE level < 1 OR level > ?1 OR idx < 0 ORDER BY level, idx;

-- name: nodes_delete
DELETE FROM log_nodes;

-- name: tree_pairs
-- Pairs of records that the stored tree covers.
SELECT coalesce(max(idx) + 1, 0) FROM log_nodes WHERE level = 1;

-- name: bodies_from
-- ?1 first position wanted
SELECT body FROM records WHERE position >= ?1 ORDER BY position;

-- name: body_at
SELECT body FROM records WHERE position = ?;

-- name: checkpoint_insert
INSERT INTO checkpoints (size, root, note, at_ms) VALUES (?, ?, ?, ?);

-- name: checkpoint_seen
-- ?1 Unix ms, ?2 size
UPDATE checkpoints SET at_ms = ?1 WHERE size = ?2;

-- name: checkpoints_from
-- ?1 least size
SELECT size, root, note, at_ms FROM checkpoints WHERE size >= ?1 ORDER BY size;

-- name: checkpoint_within
-- ?1 greatest size
SELECT size, root, note, at_ms FROM checkpoints WHERE size <= ?1 ORDER BY size DESC LIMIT 1;

-- name: tables
SELECT name, type, tbl_name, sql FROM main.sqlite_schema ORDER BY name;
