"""Notifications of the VTN: webhooks and MQTT, from the journal of the programme model.

Layers: `notices` (what an edit means to whom), `routes` (subscriptions as callbacks), `callback` (the guarded HTTP
client), `webhooks` (delivery), `topics` (MQTT names and rights), `broker` (embedded), `external` (somebody else's),
`mqtt` (publishing), `service` (all of it).
"""
