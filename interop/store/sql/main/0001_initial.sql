CREATE TABLE inbox (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter         TEXT NOT NULL,
    peer            TEXT NOT NULL,
    message_id      TEXT,
    digest          BLOB NOT NULL,
    conflict        INTEGER NOT NULL DEFAULT 0,
    kind            TEXT NOT NULL,
    conversation_id TEXT,
    raw             BLOB NOT NULL,
    content         TEXT,
    received_at     TEXT NOT NULL,
    state           TEXT NOT NULL DEFAULT 'NEW' CHECK (state IN ('NEW', 'DONE', 'FAILED')),
    reason          TEXT NOT NULL DEFAULT '',
    message         TEXT,
    accepted        INTEGER,
    reasons         TEXT NOT NULL DEFAULT '[]'
);
CREATE UNIQUE INDEX inbox_identity ON inbox (adapter, peer, message_id, digest) WHERE message_id IS NOT NULL;
CREATE UNIQUE INDEX inbox_first ON inbox (adapter, peer, message_id) WHERE message_id IS NOT NULL AND conflict = 0;
CREATE INDEX inbox_new ON inbox (seq) WHERE state = 'NEW';
CREATE INDEX inbox_conversation ON inbox (conversation_id);
CREATE INDEX inbox_message ON inbox (message_id);
CREATE INDEX inbox_time ON inbox (received_at);

CREATE TABLE outbox (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id      TEXT NOT NULL UNIQUE,
    adapter         TEXT NOT NULL,
    peer            TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    kind            TEXT NOT NULL,
    body            BLOB NOT NULL,
    message         TEXT,
    answers         TEXT,
    cause           INTEGER REFERENCES inbox (seq),
    queued_at       TEXT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    first_wall      REAL NOT NULL DEFAULT 0,
    next_wall       REAL NOT NULL,
    state           TEXT NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
    reason          TEXT NOT NULL DEFAULT '',
    accepted        INTEGER,
    reasons         TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX outbox_pending ON outbox (peer, conversation_id, seq) WHERE state = 'PENDING';
CREATE INDEX outbox_answers ON outbox (peer, answers) WHERE answers IS NOT NULL;
CREATE INDEX outbox_conversation ON outbox (conversation_id);
CREATE INDEX outbox_time ON outbox (queued_at);

CREATE TABLE documents (
    space TEXT NOT NULL,
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (space, kind, key)
); -- with rowid: documents are read in the order in which they first came

CREATE TABLE events (
    seq       INTEGER PRIMARY KEY,
    at        TEXT NOT NULL,
    kind      TEXT NOT NULL,
    data      TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash      TEXT NOT NULL
);
CREATE INDEX events_kind ON events (kind, seq);
CREATE TRIGGER events_keep BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER events_fix BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;

CREATE TABLE proof (id INTEGER PRIMARY KEY CHECK (id = 1), wall REAL NOT NULL);
