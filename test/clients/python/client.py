"""Calls the four methods of the example with grpcio and prints what it heard
as JSON.

    client.py HOST:PORT DESCRIPTOR_FILE [CA_FILE]

The descriptor file is a serialised FileDescriptorProto of echo.proto: Debian
has no grpcio-tools in python3-grpcio, so there are no generated stubs.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "echo.v1.EchoService"
TIMEOUT = 10
LARGE = "0123456789abcdef" * ((3 << 20) // 16)  # more than any buffer or window on the way


def message_class(descriptor):
    """The class of a message, by the name that it has in this protobuf."""
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)


def load_service(path):
    with open(path, "rb") as f:
        file = descriptor_pb2.FileDescriptorProto.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


class Stub:
    """A callable and the request class for each method."""

    KINDS = {
        "Echo": "unary_unary",
        "Repeat": "unary_stream",
        "Collect": "stream_unary",
        "Chat": "stream_stream",
    }

    def __init__(self, channel, service):
        self.call, self.request = {}, {}
        for method in service.methods:
            self.request[method.name] = message_class(method.input_type)
            kind = getattr(channel, self.KINDS[method.name])
            self.call[method.name] = kind(
                f"/{SERVICE}/{method.name}",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=message_class(method.output_type).FromString,
            )

    def one(self, method, **fields):
        return self.call[method](self.request[method](**fields), timeout=TIMEOUT)

    def several(self, method, *messages):
        requests = (self.request[method](message=m) for m in messages)
        return self.call[method](requests, timeout=TIMEOUT)


def main(addr, descriptor_file, ca_file=None):
    if ca_file:
        with open(ca_file, "rb") as f:
            channel = grpc.secure_channel(addr, grpc.ssl_channel_credentials(f.read()))
    else:
        channel = grpc.insecure_channel(addr)
    with channel:
        stub = Stub(channel, load_service(descriptor_file))
        print(json.dumps({
            "echo": stub.one("Echo", message="hi").message,
            "large": len(stub.one("Echo", message=LARGE).message),
            "repeat": [r.message for r in stub.one("Repeat", message="hi", count=3)],
            "collect": stub.several("Collect", "a", "b").message,
            "chat": [r.message for r in stub.several("Chat", "a", "b")],
        }))


if __name__ == "__main__":
    main(*sys.argv[1:])
