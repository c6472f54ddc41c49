"""Our VTN and our VEN against each other: polled and pushed, plain and signed, with reports, opts and opt-outs."""

from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from support.openadr2 import HandClock, Hub, Identity, home, plan, ports, until
from support.openadr2_ven import PEER, Store, battery, ven

from adapters.openadr2 import build
from adapters.openadr2.ven.opts import Wanted
from datamodels import DispatchKind, Quantity, Telemetry


@pytest.mark.parametrize("transport", ["poll", "push"])
@pytest.mark.parametrize("security", ["plain", "signed"])
async def test_a_dispatch_there_is_a_signal_here(transport: str, security: str, tmp_path: Path) -> None:
    clock = HandClock(real=True)
    clock.market = clock.anchor
    theirs, ours = {}, {}
    known = {"ven_name": "one"}
    if security == "signed":
        ca = trustme.CA()
        vtn_id, ven_id = Identity.issue(ca, "vtn"), Identity.issue(ca, "one")
        files = vtn_id.write(tmp_path / "vtn"), ven_id.write(tmp_path / "ven")
        theirs = {"security": "high", "signing_certificate": files[0][0], "signing_key": files[0][1]}
        ours = {"signing_certificate": files[1][0], "signing_key": files[1][1], "signed": True}
        ours |= {"signing_fingerprint": vtn_id.fingerprint}
        known |= {"fingerprint": ven_id.fingerprint}
    hub, resource = Hub(), home("one")
    settings = {"listen": "127.0.0.1:0", "insecure": True, "poll_frequency_s": 1, "report_interval_s": 1}
    vtn = build(settings | {"vens": [known]} | theirs, ports(hub, clock, resource))
    await vtn.start()
    (url,) = vtn.status().listening
    if transport == "push":
        ours |= {"listen": "127.0.0.1:0", "push_url": "http://127.0.0.1:1/"}
    away = Store()
    peer = ven(away, clock, url, battery(), sampling_s=1, **ours)
    if transport == "push":
        link = peer.links[PEER]
        assert link._server is not None
        await link._server.start(link.wake)  # the port is known before we register with it
        (address,) = link.listening
        await link._server.stop()
        ours |= {"listen": address.removeprefix("http://"), "push_url": address}
        peer = ven(away, clock, url, battery(), sampling_s=1, **ours)
    await peer.start()
    try:
        await until(lambda: hub.load("ven").get("one", {}).get("registration_id"))
        start = clock.now() + timedelta(seconds=0.5)
        limit = plan("d1", resource, start, (3000, 2000), kind=DispatchKind.IMPORT_LIMIT)
        await vtn.apply(resource, limit)
        await until(lambda: ("d1", 0, "ACCEPTED") in hub.statuses)
        (signal,) = away.signals
        assert (signal.kind, [int(i.value) for i in signal.intervals]) == ("IMPORT_LIMIT", [3000, 2000])
        assert abs(signal.intervals[0].start - start) < timedelta(seconds=0.01)

        await vtn.apply(resource, plan("d1", resource, start, (1000,), kind=DispatchKind.IMPORT_LIMIT, revision=1))
        await until(lambda: ("d1", 1, "ACCEPTED") in hub.statuses)
        now = clock.now()
        away.measured += [
            Telemetry("battery", Quantity.POWER_W, now + timedelta(seconds=n / 10), 1500.0) for n in range(100)
        ]
        await until(lambda: any(s.quantity is Quantity.MEAN_POWER_W and s.value == 1500.0 for s in hub.samples))
        await until(lambda: any(s.quantity is Quantity.ONLINE and s.value for s in hub.samples))

        await peer.links[PEER].opt("d1", "optOut", "overrideStatus")
        await until(lambda: ("d1", 1, "REJECTED") in hub.statuses)
        assert away.signals[-1].cancelled
        made = await peer.links[PEER].schedule(Wanted("optOut", ((clock.wall, timedelta(hours=1)),)))
        await until(lambda: f"one/{made}" in hub.load("opt"))
        await peer.links[PEER].cancel_opt(made)
        await until(lambda: f"one/{made}" not in hub.load("opt"))

        await vtn.request_reregistration("one")
        await until(lambda: [kind for _, kind, _ in away.traced].count("oadrCreatedPartyRegistration") == 3)
        await vtn.cancel_registration("one")
        await until(lambda: away.load("vtn.registration")[PEER]["ended"])
        await until(lambda: not hub.load("ven")["one"]["registration_id"])
        # What was on its way when the registration ended, or the event was modified, may be answered with no.
        refused = {rule for _, rule, _ in (*hub.refusals, *away.refusals)}
        assert refused <= {"oadr.unregistered", "oadr.event.answer"}
    finally:
        await peer.stop()
        await vtn.stop()
