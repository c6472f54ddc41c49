"""An agent that shares no code with gridparley: the standard library alone, from docs/agents.md.

    python plain_client.py HOST PORT TOKEN ROUNDS_FILE

A home without devices that can drop 1 kW for 0.30 EUR/kWh. Writes what it was awarded to the file and ends.
"""

import base64
import hashlib
import json
import os
import socket
import struct
import sys

ISPS, MINUTES = 8, 15


def connect(host, port, token):
    sock = socket.create_connection((host, port), timeout=60)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /agents HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    stream = sock.makefile("rb")
    status = stream.readline().decode()
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    accept = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    assert status.split()[1] == "101", status
    assert headers["sec-websocket-accept"] == base64.b64encode(accept).decode()
    return sock, stream


def send(sock, message, opcode=1):
    data = message if isinstance(message, bytes) else json.dumps({"v": 1, **message}).encode()
    mask = os.urandom(4)
    length = struct.pack("!B", 128 | len(data)) if len(data) < 126 else struct.pack("!BH", 254, len(data))
    sock.sendall(bytes([128 | opcode]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))


def receive(sock, stream):
    while True:
        first, second = stream.read(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", stream.read(2))
        data = stream.read(length)
        if first & 15 == 9:
            send(sock, data, 10)
        elif first & 15 == 8:
            raise SystemExit(f"closed: {data!r}")
        elif first & 15 == 1:
            return json.loads(data)


def main():
    host, port, token, out = sys.argv[1:]
    sock, stream = connect(host, int(port), token)
    public = base64.b64encode(b"\x09" + bytes(31)).decode()
    send(sock, {"type": "hello", "key": public, "whole": False, "least": 1})
    answers = {}
    while True:
        message = receive(sock, stream)
        if message["type"] == "open" and (message["members"] or message["isps"] != ISPS):
            send(sock, {"type": "refuse", "negotiation": message["negotiation"], "reason": "I speak plainly only"})
        elif message["type"] == "cfp":
            hours = MINUTES / 60
            price = message["price_eur_per_kwh"]
            net = [1000 if p < 0.3 else 0 for p in price]
            cost = sum(0.3 * hours * (1 - w / 1000) for w in net)
            least = sum(min(0.3, p) * hours for p in price)
            answers[str(message["round"])] = net
            send(sock, {
                "type": "propose", "negotiation": message["negotiation"], "round": message["round"], "net_w": net,
                "cost_micro_eur": round(1e6 * cost), "least_micro_eur": int(1e6 * least) - 1,
            })  # fmt: skip
        elif message["type"] == "accept":
            net = [round(sum(share * answers[r][t] for r, share in message["shares"].items())) for t in range(ISPS)]
            with open(out, "w", encoding="utf-8") as file:  # noqa: PTH123
                json.dump(net, file)
            send(sock, {"type": "inform", "award": message["award"], "state": "accepted"})
            send(sock, {"type": "inform", "award": message["award"], "state": "done", "measured_w": net})
            send(sock, struct.pack("!H", 1000), 8)
            return


if __name__ == "__main__":
    main()
