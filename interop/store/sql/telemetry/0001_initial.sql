CREATE TABLE telemetry (
    resource   TEXT NOT NULL,
    quantity   TEXT NOT NULL,
    at         INTEGER NOT NULL, -- microseconds since the epoch
    value      REAL NOT NULL,
    duration_s REAL NOT NULL,
    quality    TEXT NOT NULL,
    PRIMARY KEY (resource, quantity, at)
) WITHOUT ROWID;
