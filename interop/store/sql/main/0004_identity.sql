-- The first message of an identity has an index of its own (inbox_first); only those that contradict it need another.
DROP INDEX inbox_identity;
CREATE UNIQUE INDEX inbox_contradicting ON inbox (adapter, peer, message_id, digest) WHERE conflict = 1;
