"""Calls the four methods of the example with grpcio as several callers, one
after another, and prints what became of each as a line of JSON.

    identity.py HOST:PORT DESCRIPTOR_FILE CA_FILE < CALLERS

Each line of the callers is a JSON object of files and tokens: cert, key, user and
service, "" for none.
"""

import json
import sys

import grpc

from client import Stub, load_service

SERVICE_HEADER = "easyops-service-authorization"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def credentials(ca_file, caller):
    """What the connection and its calls present, in the ways that grpcio has."""
    channel = grpc.ssl_channel_credentials(
        read(ca_file),
        read(caller["key"]) if caller["key"] else None,
        read(caller["cert"]) if caller["cert"] else None,
    )
    calls = []
    if caller["user"]:
        calls.append(grpc.access_token_call_credentials(caller["user"]))
    if caller["service"]:
        header = (SERVICE_HEADER, "Bearer " + caller["service"])
        calls.append(grpc.metadata_call_credentials(lambda _, done: done([header], None)))
    return grpc.composite_channel_credentials(channel, *calls) if calls else channel


def name(code):
    """The name of a code as Go has it: PermissionDenied for PERMISSION_DENIED."""
    return code.name if code.name == "OK" else code.name.title().replace("_", "")


def outcome(call):
    """What a call answers, and its code."""
    try:
        return call(), "OK"
    except grpc.RpcError as err:
        return "", name(err.code())


def answers(addr, service, ca_file, caller):
    with grpc.secure_channel(addr, credentials(ca_file, caller)) as channel:
        stub = Stub(channel, service)
        who, echo = outcome(lambda: stub.one("Echo", message="hi").message)
        return {
            "who": who,
            "echo": echo,
            "repeat": outcome(lambda: list(stub.one("Repeat", message="hi", count=1)))[1],
            "collect": outcome(lambda: stub.several("Collect", "a"))[1],
            "chat": outcome(lambda: list(stub.several("Chat", "a")))[1],
        }


def main(addr, descriptor_file, ca_file):
    service = load_service(descriptor_file)
    for line in sys.stdin:
        print(json.dumps(answers(addr, service, ca_file, json.loads(line))))


if __name__ == "__main__":
    main(*sys.argv[1:])
