# mypy: ignore-errors
"""shapeshifter-uftp's AGR or DSO service, run by that library's own interpreter.

usage: shapeshifter_peer.py JSON (role, domain, secret, key of the counterpart; to trade also port, other, endpoint,
point). Prints {"port": …} when ready. Then, for a line `count`, {"count": …} FlexRequests received; for `trade`, as
DSO, {"took_s": …} once the answer to the order is there.
"""

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import SimpleQueue
from random import Random
from threading import Thread
from time import perf_counter, sleep
from uuid import uuid4

import shapeshifter_uftp as s
from shapeshifter_uftp.uftp import (
    AcceptedRejected,
    AvailableRequested,
    FlexOffer,
    FlexOfferOption,
    FlexOfferOptionISP,
    FlexOfferResponse,
    FlexOrder,
    FlexOrderISP,
    FlexOrderResponse,
    FlexRequest,
    FlexRequestISP,
    FlexRequestResponse,
)
from xsdata.models.datatype import XmlDate, XmlDuration

logging.disable(logging.CRITICAL)
SETUP = json.loads(sys.argv[1])
TRADES = "other" in SETUP
PERIOD = datetime.now(UTC).date() + timedelta(days=7)
EXPIRES = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
received = []
ended = SimpleQueue()


def day():
    return {
        "isp_duration": XmlDuration("PT15M"),
        "time_zone": "Europe/Amsterdam",
        "period": XmlDate.from_date(PERIOD),
        "congestion_point": SETUP["point"],
    }


def answer(kind, message, field):
    return kind(
        conversation_id=message.conversation_id, result=AcceptedRejected.ACCEPTED, **{field: message.message_id}
    )


def _ignore(self, message):
    pass


class Agr(s.ShapeshifterAgrService):
    process_d_prognosis_response = process_flex_offer_response = _ignore
    process_flex_offer_revocation_response = process_flex_reservation_update = process_flex_settlement = _ignore
    process_metering_response = process_agr_portfolio_query_response = process_agr_portfolio_update_response = _ignore
    process_test_message_response = _ignore

    def process_flex_request(self, message):
        received.append(message.message_id)
        if not TRADES:
            return
        client = self.dso_client(message.sender_domain, "3.1.0")
        client.send_flex_request_response(answer(FlexRequestResponse, message, "flex_request_message_id"))
        wanted = [i for i in message.isps if i.disposition == AvailableRequested.REQUESTED]
        isps = [FlexOfferOptionISP(power=i.min_power // 2, start=i.start, duration=i.duration) for i in wanted]
        offer = FlexOffer(
            **day(),
            conversation_id=message.conversation_id,
            flex_request_message_id=message.message_id,
            expiration_date_time=EXPIRES,
            currency="EUR",
            offer_options=[FlexOfferOption(option_reference="A", price=Decimal("10.50"), isps=isps)],
        )
        client.send_flex_offer(offer)

    def process_flex_order(self, message):
        client = self.dso_client(message.sender_domain, "3.1.0")
        client.send_flex_order_response(answer(FlexOrderResponse, message, "flex_order_message_id"))


class Dso(s.ShapeshifterDsoService):
    process_d_prognosis = process_flex_request_response = process_flex_offer_revocation = _ignore
    process_flex_reservation_update_response = process_flex_settlement_response = process_metering = _ignore
    process_dso_portfolio_query_response = process_dso_portfolio_update_response = _ignore
    process_test_message_response = _ignore

    def process_flex_offer(self, message):
        client = self.agr_client(message.sender_domain, "3.1.0")
        client.send_flex_offer_response(answer(FlexOfferResponse, message, "flex_offer_message_id"))
        option = message.offer_options[0]
        order = FlexOrder(
            **day(),
            conversation_id=message.conversation_id,
            flex_offer_message_id=message.message_id,
            price=option.price,
            currency=message.currency,
            order_reference=message.message_id,
            option_reference=option.option_reference,
            isps=[FlexOrderISP(power=i.power, start=i.start, duration=i.duration) for i in option.isps],
        )
        client.send_flex_order(order)

    def process_flex_order_response(self, message):
        ended.put(perf_counter())

    def trade(self):
        chance = Random()  # noqa: S311
        isps = [
            FlexRequestISP(
                disposition=AvailableRequested.REQUESTED if 70 <= n <= 76 else AvailableRequested.AVAILABLE,
                min_power=-chance.randrange(1000, 10**6) if 70 <= n <= 76 else 0,
                max_power=0 if 70 <= n <= 76 else chance.randrange(10**6),
                start=n,
            )
            for n in range(1, 97)
        ]
        began = perf_counter()
        request = FlexRequest(
            **day(), revision=1, expiration_date_time=EXPIRES, isps=isps, conversation_id=str(uuid4())
        )
        self.agr_client(SETUP["other"], "3.1.0").send_flex_request(request)
        return ended.get(timeout=8) - began


service = (Dso if SETUP["role"] == "DSO" else Agr)(
    SETUP["domain"],
    SETUP["secret"],
    key_lookup_function=lambda domain, role: SETUP["key"],
    endpoint_lookup_function=lambda domain, role: SETUP.get("endpoint", "http://127.0.0.1:9/"),
    host="127.0.0.1",
    port=SETUP.get("port", 0),
    version="3.1.0",
)
service.server.config.log_config = None
service.server.config.access_log = False
thread = Thread(target=service.run, daemon=True)
thread.start()
while not service.server.started:
    sleep(0.02)
print(json.dumps({"port": service.server.servers[0].sockets[0].getsockname()[1]}), flush=True)
for line in sys.stdin:
    said = {"count": len(received)} if line.strip() == "count" else {"took_s": service.trade()}
    print(json.dumps(said), flush=True)
