"""Finds, describes and calls methods without any .proto file, over reflection v1alpha.

    reflection.py <address> <service> ...
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(address, *wanted):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        served = list(database.get_services())
        pool = DescriptorPool(database)
        for name in wanted:
            assert name in served, f"{name} is not among {served}"
            service = pool.FindServiceByName(name)
            assert service.methods, f"{name} has no methods"
            for method in service.methods:
                print(f"{name}/{method.name}({method.input_type.full_name})")


main(*sys.argv[1:])
