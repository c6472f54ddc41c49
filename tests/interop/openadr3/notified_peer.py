"""A foreign VEN in another process: python-oa3-client, which registers and listens over webhook and MQTT.

`notified_peer.py URL CLIENT SECRET` prints `ready` once it is subscribed both ways, and for each line of JSON that it
reads, `[webhooks, messages]`, what it has received each way when that many of both have come.
"""

import json
import sys

from openadr3_client import VenClient

url, client, secret = sys.argv[1:]
ven = VenClient(url=url, client_id=client, client_secret=secret)
ven.start()
ven.register("foreign")
ven.register("foreign")
webhook = ven.add_webhook(host="127.0.0.1", bearer_token="TOKEN", callback_host="127.0.0.1")
webhook.start()
ven.subscribe(["p"], ["EVENT"], ["CREATE", "UPDATE", "DELETE"], webhook)
(broker,) = ven.get_mqtt_broker_uris()
mqtt = ven.add_mqtt(broker)
mqtt.start()
topics = ven.subscribe(["p"], ["EVENT"], ["CREATE", "UPDATE", "DELETE"], mqtt)
assert topics, "it was told no topics"
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    heard = [[json.loads(m.raw_payload) for m in channel.await_messages(wanted, 10.0)] for channel in (webhook, mqtt)]
    print(json.dumps(heard), flush=True)
mqtt.stop()
webhook.stop()
ven.stop()
