"""What every Python check needs: generated stubs, refusals in readable form, and a tally.

The stubs are generated from the .proto files before each run; PYTHONPATH says where they lie.
"""

import sys
import traceback
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from crm.v1 import client_service_pb2 as crm
from crm.v1.client_service_pb2_grpc import ClientServiceStub
from identity.v1 import api_key_service_pb2 as keys
from identity.v1 import audit_service_pb2 as audit
from identity.v1 import auth_service_pb2 as auth
from identity.v1 import employee_service_pb2 as employees
from identity.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from identity.v1.audit_service_pb2_grpc import AuditServiceStub
from identity.v1.auth_service_pb2_grpc import AuthServiceStub
from identity.v1.employee_service_pb2_grpc import EmployeeServiceStub

PASSWORD = "correct horse battery staple"
DETAILS = {
    message.DESCRIPTOR.full_name: message
    for message in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
}


class Services:
    """Channels to both services, and the stubs on them."""

    def __init__(self, identity, crm_address, **options):
        self.identity_channel = grpc.insecure_channel(identity, **options)
        self.crm_channel = grpc.insecure_channel(crm_address, **options)
        self.api_keys = ApiKeyServiceStub(self.identity_channel)
        self.audit = AuditServiceStub(self.identity_channel)
        self.auth = AuthServiceStub(self.identity_channel)
        self.employees = EmployeeServiceStub(self.identity_channel)
        self.clients = ClientServiceStub(self.crm_channel)

    def sign_up(self, company):
        """A new account, and what its super admin calls with."""
        email = f"{uuid.uuid4().hex}@{company.lower()}.example"
        answer = self.auth.SignUp(
            auth.SignUpRequest(
                account=auth.SignUpAccount(name=company, default_currency="EUR"),
                employee=auth.SignUpEmployee(name="Ada", email=email, password=PASSWORD),
            ),
            timeout=20,
        )
        return answer, token(answer.token)


def token(value):
    """Call metadata."""
    return (("authorization", f"Token {value}"),)


class Refusal:
    """A failed call, decoded."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.trailers = {key: value for key, value in error.trailing_metadata() or ()}
        self.details = {}
        status = rpc_status.from_call(error)
        for packed in status.details if status else ():
            message = DETAILS[packed.type_url.rsplit("/", 1)[-1]]()
            packed.Unpack(message)
            self.details[type(message).__name__] = message

    @property
    def reason(self):
        return self.details["ErrorInfo"].reason

    @property
    def fields(self):
        return sorted(violation.field for violation in self.details["BadRequest"].field_violations)


def refused(code, reason, call, *arguments, **options):
    """Makes a call that must be refused like this, in all three places that say so."""
    options.setdefault("timeout", 20)
    try:
        answer = call(*arguments, **options)
    except grpc.RpcError as error:
        refusal = Refusal(error)
    else:
        raise AssertionError(f"expected {code.name}, got the answer {answer}")
    seen = refusal.code, refusal.reason, refusal.trailers.get("error-reason")
    assert seen == (code, reason, reason), f"expected {(code.name, reason)}, got {seen}: {refusal.message}"
    assert refusal.details["ErrorInfo"].domain == "clientele"
    return refusal


def same(left, right):
    assert left == right, f"{left!r} is not {right!r}"


def run(checks, *arguments):
    """Runs each check, prints a line for it, and leaves with 1 if one failed."""
    failed = 0
    for check in checks:
        try:
            check(*arguments)
            print(f"ok    {check.__doc__}", flush=True)
        except Exception:  # noqa: BLE001 - whatever went wrong belongs to this check
            failed += 1
            print(f"FAIL  {check.__doc__}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"      {line}", flush=True)
    sys.exit(failed != 0)
