"""A gRPC server with grpcio's own reflection (v1alpha). Prints its port."""

import os
import sys
import tempfile
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from grpc_tools import protoc

here = os.path.dirname(os.path.abspath(__file__))


def generate(into):
    root = os.path.join(here, "proto")
    files = ["foreign/v1/types.proto", "foreign/v1/service.proto"]
    well_known = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    arguments = ["protoc", "-I", root, "-I", well_known]
    arguments += ["--python_out", into, "--grpc_python_out", into] + files
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, into)


def main():
    with tempfile.TemporaryDirectory() as into:
        generate(into)
        from foreign.v1 import service_pb2, service_pb2_grpc

        class Parcels(service_pb2_grpc.ParcelsServicer):
            def Echo(self, request, context):
                context.set_trailing_metadata((("x-served-by", "python"),))
                return service_pb2.EchoReply(parcel=request.parcel, served_by="python")

            def Each(self, requests, context):
                for request in requests:
                    yield self.Echo(request, context)

            def Fail(self, request, context):
                known = any_pb2.Any()
                known.Pack(error_details_pb2.ErrorInfo(reason="NO_STAMP", domain="parcels"))
                unknown = any_pb2.Any(type_url="type.example/secret.Detail", value=b"\x08\x01")
                status = status_pb2.Status(
                    code=request.code or code_pb2.FAILED_PRECONDITION,
                    message="no stamp on it",
                    details=[known, unknown],
                )
                context.abort_with_status(rpc_status.to_status(status))

        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        service_pb2_grpc.add_ParcelsServicer_to_server(Parcels(), server)
        names = [service_pb2.DESCRIPTOR.services_by_name["Parcels"].full_name]
        reflection.enable_server_reflection(names + [reflection.SERVICE_NAME], server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        print(port, flush=True)
        # Ends with the test that started it, whose end closes this pipe.
        sys.stdin.read()
        server.stop(None)


main()
