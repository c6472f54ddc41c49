"""A participant built on shapeshifter-uftp (Apache-2.0), run by that library's own interpreter.

Takes one JSON argument: role, domain, secret (base64), peer {domain, role, endpoint, key (base64)}, period, point,
versions. Prints one JSON line an event; reads one command a line: `trade` (as DSO: send a FlexRequest), `test`, `stop`.
As DSO it answers offers and orders the first option; as AGR it answers requests, makes an offer, and accepts orders.
"""

import json
import logging
import sys
from decimal import Decimal
from threading import Lock, Thread
from time import sleep
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
    TestMessage,
)
from xsdata.models.datatype import XmlDate, XmlDuration

logging.disable(logging.CRITICAL)
SETUP = json.loads(sys.argv[1])
PEER = SETUP["peer"]
_lock = Lock()


def tell(event, **data):
    with _lock:
        print(json.dumps({"event": event, **data}), flush=True)


def day():
    return {
        "isp_duration": XmlDuration("PT15M"),
        "time_zone": "Europe/Amsterdam",
        "period": XmlDate.from_string(SETUP["period"]),
        "congestion_point": SETUP["point"],
    }


def answer(kind, message, field):
    return kind(
        conversation_id=message.conversation_id, result=AcceptedRejected.ACCEPTED, **{field: message.message_id}
    )


def heard(self, message):
    tell(
        "received",
        kind=type(message).__name__,
        id=message.message_id,
        result=str(getattr(message, "result", "")),
        reason=getattr(message, "rejection_reason", None),
    )


class Dso(s.ShapeshifterDsoService):
    process_d_prognosis = process_flex_request_response = process_flex_order_response = heard
    process_flex_offer_revocation = process_flex_reservation_update_response = heard
    process_flex_settlement_response = process_metering = heard
    process_dso_portfolio_query_response = process_dso_portfolio_update_response = heard

    def process_test_message_response(self, message):
        heard(self, message)

    def process_flex_offer(self, message):
        heard(self, message)
        client = self.agr_client(message.sender_domain, SETUP["version"])
        client.send_flex_offer_response(answer(FlexOfferResponse, message, "flex_offer_message_id"))
        option = message.offer_options[0]
        order = FlexOrder(
            **day(),
            conversation_id=message.conversation_id,
            flex_offer_message_id=message.message_id,
            price=option.price,
            currency=message.currency,
            order_reference="ORD-" + message.message_id[:8],
            option_reference=option.option_reference,
            isps=[FlexOrderISP(power=i.power, start=i.start, duration=i.duration) for i in option.isps],
        )
        client.send_flex_order(order)

    def trade(self):
        isps = [
            FlexRequestISP(
                disposition=AvailableRequested.REQUESTED if 70 <= n <= 76 else AvailableRequested.AVAILABLE,
                min_power=-100000 if 70 <= n <= 76 else 0,
                max_power=0 if 70 <= n <= 76 else 50000,
                start=n,
            )
            for n in range(1, 97)
        ]
        request = FlexRequest(
            **day(), revision=1, expiration_date_time=SETUP["expires"], isps=isps, conversation_id=str(uuid4())
        )
        self.agr_client(PEER["domain"], SETUP["version"]).send_flex_request(request)

    def test(self):
        self.agr_client(PEER["domain"], SETUP["version"]).send_test_message(TestMessage())


class Agr(s.ShapeshifterAgrService):
    process_d_prognosis_response = process_flex_offer_response = process_flex_offer_revocation_response = heard
    process_flex_reservation_update = process_flex_settlement = process_metering_response = heard
    process_agr_portfolio_query_response = process_agr_portfolio_update_response = heard

    def process_test_message_response(self, message):
        heard(self, message)

    def process_flex_request(self, message):
        heard(self, message)
        client = self.dso_client(message.sender_domain, SETUP["version"])
        client.send_flex_request_response(answer(FlexRequestResponse, message, "flex_request_message_id"))
        wanted = [i for i in message.isps if i.disposition == AvailableRequested.REQUESTED]
        option = FlexOfferOption(
            option_reference="A",
            price=Decimal("10.50"),
            min_activation_factor=Decimal("0.50"),
            isps=[FlexOfferOptionISP(power=i.min_power // 2, start=i.start, duration=i.duration) for i in wanted],
        )
        offer = FlexOffer(
            **day(),
            conversation_id=message.conversation_id,
            flex_request_message_id=message.message_id,
            expiration_date_time=SETUP["expires"],
            currency="EUR",
            offer_options=[option],
        )
        client.send_flex_offer(offer)

    def process_flex_order(self, message):
        heard(self, message)
        client = self.dso_client(message.sender_domain, SETUP["version"])
        client.send_flex_order_response(answer(FlexOrderResponse, message, "flex_order_message_id"))

    def test(self):
        self.dso_client(PEER["domain"], SETUP["version"]).send_test_message(TestMessage())


def main():
    kind = Dso if SETUP["role"] == "DSO" else Agr
    service = kind(
        SETUP["domain"],
        SETUP["secret"],
        key_lookup_function=lambda domain, role: PEER["key"],
        endpoint_lookup_function=lambda domain, role: PEER["endpoint"],
        host="127.0.0.1",
        port=0,
        version=SETUP["version"],
    )
    service.server.config.log_config = None
    thread = Thread(target=service.run, daemon=True)
    thread.start()
    while not service.server.started:
        sleep(0.02)
    tell("ready", port=service.server.servers[0].sockets[0].getsockname()[1])
    for line in sys.stdin:
        command = line.strip()
        if command == "stop":
            break
        try:
            getattr(service, command)()
        except Exception as error:
            tell("failed", command=command, why=repr(error)[:300])
    service.server.should_exit = True
    thread.join(5)


main()
