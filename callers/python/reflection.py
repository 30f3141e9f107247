"""Finds and describes services without any .proto file, over one version of reflection.

    reflection.py v1|v1alpha <address> <service> ...
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Asking:
    """Asks by the method of this version and no other; the messages of all are the same."""

    def __init__(self, channel, version):
        self.ServerReflectionInfo = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )


def main(version, address, *wanted):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        database._stub = Asking(channel, version)
        served = list(database.get_services())
        pool = DescriptorPool(database)
        for name in wanted:
            assert name in served, f"{name} is not among {served}"
            service = pool.FindServiceByName(name)
            assert service.methods, f"{name} has no methods"
            for method in service.methods:
                print(f"{name}/{method.name}({method.input_type.full_name})")


main(*sys.argv[1:])
