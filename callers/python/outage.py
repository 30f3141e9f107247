"""What crm-service says while identity-service is away, and after.

    outage.py token <identity address>            signs up, prints the token
    outage.py away <crm address> <token>          must be refused, closed and with a hint
    outage.py back <crm address> <token>          must work again by itself
"""

import sys
import time

import grpc
from caller import Services, crm, refused, token


def away(address, value):
    clients = Services(address, address).clients
    refusal = refused(
        grpc.StatusCode.UNAVAILABLE,
        "IDENTITY_UNAVAILABLE",
        clients.ListClients,
        crm.ListClientsRequest(),
        metadata=token(value),
    )
    hint = refusal.details["RetryInfo"].retry_delay
    assert hint.seconds or hint.nanos, "RetryInfo without a delay"
    assert float(refusal.trailers["retry-after"]) > 0


def back(address, value):
    clients = Services(address, address).clients
    until = time.monotonic() + 15
    while True:
        try:
            return clients.ListClients(crm.ListClientsRequest(), metadata=token(value), timeout=20)
        except grpc.RpcError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


command, address, *rest = sys.argv[1:]
if command == "token":
    print(Services(address, address).sign_up("Outage")[0].token)
else:
    {"away": away, "back": back}[command](address, *rest)
