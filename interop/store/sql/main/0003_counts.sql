-- How many rows are in the rare states is asked several times a minute; the frequent ones follow from the total.
CREATE INDEX inbox_failed ON inbox (seq) WHERE state = 'FAILED';
CREATE INDEX outbox_dead ON outbox (seq) WHERE state = 'DEAD';
