# mypy: ignore-errors
"""shapeshifter-uftp's AGR service, run by that library's own interpreter: counts FlexRequests.

usage: shapeshifter_peer.py JSON (domain, secret, key of the counterpart). Prints {"port": …} when ready, and
{"count": …} for every line of input.
"""

import json
import logging
import sys
from threading import Thread
from time import sleep

import shapeshifter_uftp as s

logging.disable(logging.CRITICAL)
SETUP = json.loads(sys.argv[1])
received = []


def _ignore(self, message):
    pass


class Agr(s.ShapeshifterAgrService):
    process_flex_order = process_d_prognosis_response = process_flex_offer_response = _ignore
    process_flex_offer_revocation_response = process_flex_reservation_update = process_flex_settlement = _ignore
    process_metering_response = process_agr_portfolio_query_response = process_agr_portfolio_update_response = _ignore
    process_test_message_response = _ignore

    def process_flex_request(self, message):
        received.append(message.message_id)


service = Agr(
    SETUP["domain"],
    SETUP["secret"],
    key_lookup_function=lambda domain, role: SETUP["key"],
    endpoint_lookup_function=lambda domain, role: "http://127.0.0.1:9/",
    host="127.0.0.1",
    port=0,
    version="3.1.0",
)
service.server.config.log_config = None
service.server.config.access_log = False
thread = Thread(target=service.run, daemon=True)
thread.start()
while not service.server.started:
    sleep(0.02)
print(json.dumps({"port": service.server.servers[0].sockets[0].getsockname()[1]}), flush=True)
for _ in sys.stdin:
    print(json.dumps({"count": len(received)}), flush=True)
