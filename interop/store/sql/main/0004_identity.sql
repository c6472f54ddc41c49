-- Every index is a page or two more to be written with each message, so one serves ids and identities alike. That of
-- several rows of an identity all but one are conflicts, whoever takes messages in makes sure of. Rows come in the order
-- of time, so listing them by seq needs no index on it.
DROP INDEX inbox_identity;
DROP INDEX inbox_first;
DROP INDEX inbox_message;
DROP INDEX inbox_time;
DROP INDEX outbox_time;
CREATE UNIQUE INDEX inbox_known ON inbox (message_id, peer, adapter, digest) WHERE message_id IS NOT NULL;
