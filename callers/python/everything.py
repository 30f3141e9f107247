"""A client generated from the .proto files walks the whole contract.

    everything.py <identity address> <crm address> <what to call them in the lines printed>
"""

import gzip
import struct
import sys
import urllib.request
import uuid

import grpc
from caller import PASSWORD, Services, audit, auth, crm, employees, keys, refused, run, same, token
from common.v1 import access_pb2 as access
from google.protobuf.field_mask_pb2 import FieldMask

identity_address, crm_address, where = sys.argv[1:4]
services = Services(identity_address, crm_address)
clients = services.clients
code = grpc.StatusCode


def over_http(url, body, headers):
    """grpc-web by hand: shows what the library hides, or decides by itself."""
    headers = {"content-type": "application/grpc-web+proto", **headers}
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.headers, response.read()


class World:
    """What earlier checks leave for later ones."""


def name(text):
    """Says what a check is about; the doc string is what is printed."""

    def named(check):
        check.__doc__ = f"{where}: {text}"
        return check

    return named


@name("two companies sign up, each with a super admin and a token")
def sign_up(world):
    answer, world.acme = services.sign_up("Acme")
    other, world.globex = services.sign_up("Globex")
    world.email = answer.employee.email
    world.account_id = answer.account.id
    assert len(answer.token) == 40 and set(answer.token) <= set("0123456789abcdef")
    same(answer.employee.role, access.ROLE_SUPER_ADMIN)
    same(answer.employee.account_name, "Acme")
    same(answer.account.settings.default_currency, "EUR")
    assert answer.account.id != other.account.id and answer.token != other.token


@name("a repeated sign-up returns the first answer, token included")
def sign_up_repeat(world):
    request = auth.SignUpRequest(
        account=auth.SignUpAccount(name="Initech"),
        employee=auth.SignUpEmployee(email=f"{uuid.uuid4().hex}@initech.example", password=PASSWORD),
        request_id=str(uuid.uuid4()),
    )
    first = services.auth.SignUp(request, timeout=20)
    same(services.auth.SignUp(request, timeout=20), first)
    request.request_id = ""
    refused(code.ALREADY_EXISTS, "EMAIL_TAKEN", services.auth.SignUp, request)


@name("login returns the one token of an employee, whatever the case of the address")
def login(world):
    request = auth.LoginRequest(email=world.email.upper(), password=PASSWORD)
    same(token(services.auth.Login(request, timeout=20).token), world.acme)
    me = services.auth.GetMe(auth.GetMeRequest(), metadata=world.acme, timeout=20)
    same(me.employee.email, world.email)


@name("a wrong password and an unknown address are refused alike")
def wrong_login(world):
    said = set()
    for email in world.email, "nobody@nowhere.example":
        request = auth.LoginRequest(email=email, password="not the password")
        said.add(refused(code.UNAUTHENTICATED, "INVALID_CREDENTIALS", services.auth.Login, request).message)
    same(said, {"Invalid credentials"})


@name("no token, a token of the wrong shape, an unknown one, two at once: each has its reason")
def bad_tokens(world):
    request = crm.ListClientsRequest()
    for metadata, reason in (
        ((), "TOKEN_MISSING"),
        (token("nonsense"), "TOKEN_INVALID"),
        (token("0" * 40), "TOKEN_INVALID"),
        (world.acme + world.globex, "AUTHORIZATION_AMBIGUOUS"),
    ):
        refused(code.UNAUTHENTICATED, reason, clients.ListClients, request, metadata=metadata)


@name("a client is created, with the account's currency, and read")
def create(world):
    client = crm.Client(
        first_name="Zoë",
        last_name="Okafor",
        email=f"{uuid.uuid4().hex}@okafor.example",
        country="NL",
        labels={"tier": "gold"},
    )
    request = crm.CreateClientRequest(client=client)
    world.client = clients.CreateClient(request, metadata=world.acme, timeout=20).client
    same(world.client.currency, "EUR")
    same(world.client.status, crm.CLIENT_STATUS_ACTIVE)
    got = clients.GetClient(crm.GetClientRequest(id=world.client.id), metadata=world.acme, timeout=20)
    same(got.client, world.client)


@name("`Bearer` instead of `Token` opens the same door, in any case")
def bearer(world):
    request = crm.GetClientRequest(id=world.client.id)
    for keyword in "Bearer", "bearer", "TOKEN":
        metadata = (("authorization", world.acme[0][1].replace("Token", keyword)),)
        same(clients.GetClient(request, metadata=metadata, timeout=20).client, world.client)


@name("a repeated request_id creates one client; with another body it is refused")
def repeat(world):
    request = crm.CreateClientRequest(client=crm.Client(first_name="Once"), request_id=str(uuid.uuid4()))
    first = clients.CreateClient(request, metadata=world.acme, timeout=20)
    same(clients.CreateClient(request, metadata=world.acme, timeout=20), first)
    found = clients.ListClients(crm.ListClientsRequest(search="once"), metadata=world.acme, timeout=20)
    same(len(found.clients), 1)
    request.client.first_name = "Twice"
    refused(code.INVALID_ARGUMENT, "REQUEST_ID_REUSED", clients.CreateClient, request, metadata=world.acme)


@name("every bad field is named at once")
def bad_fields(world):
    client = crm.Client(first_name="x" * 101, email="not an address", country="XX", currency="EURO")
    request = crm.CreateClientRequest(client=client, request_id="not a UUID")
    refusal = refused(code.INVALID_ARGUMENT, "INVALID_FIELDS", clients.CreateClient, request, metadata=world.acme)
    same(
        refusal.fields,
        ["client.country", "client.currency", "client.email", "client.first_name", "request_id"],
    )


@name("of more bad fields than trailers can hold the first are named and the others counted")
def very_many_bad_fields(world):
    request = crm.BatchGetClientsRequest(ids=[0] * 500)
    refusal = refused(code.INVALID_ARGUMENT, "INVALID_FIELDS", clients.BatchGetClients, request, metadata=world.acme)
    more = int(refusal.details["ErrorInfo"].metadata["fields_not_named"])
    same((refusal.fields[0], len(refusal.fields) + more), ("ids[0]", 500))


@name("what is missing is named, with the old words")
def missing_fields(world):
    request = crm.CreateClientRequest(client=crm.Client(last_name="Nobody"))
    refusal = refused(code.INVALID_ARGUMENT, "MISSING_FIELDS", clients.CreateClient, request, metadata=world.acme)
    same((refusal.message, refusal.fields), ("Missing required fields", ["client.first_name"]))
    refusal = refused(code.INVALID_ARGUMENT, "MISSING_FIELDS", services.auth.SignUp, auth.SignUpRequest())
    same(refusal.fields, ["account.name", "employee.email", "employee.password"])


@name("lists page by token and by skip, count when asked, and filter")
def paging(world):
    _, world.pages = services.sign_up("Pages")
    statuses = [crm.CLIENT_STATUS_PAUSED, crm.CLIENT_STATUS_ONBOARDING]
    for number in range(7):
        client = crm.Client(first_name=f"Page{number}", status=statuses[number % 2], country="DE")
        clients.CreateClient(crm.CreateClientRequest(client=client), metadata=world.pages, timeout=20)

    seen, request = [], crm.ListClientsRequest(page_size=3, include_total=True, order_by="create_time")
    while True:
        page = clients.ListClients(request, metadata=world.pages, timeout=20)
        same(page.total_size, 7)
        seen += [client.first_name for client in page.clients]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    same(seen, [f"Page{number}" for number in range(7)])

    def first_names(**filters):
        request = crm.ListClientsRequest(order_by="create_time", **filters)
        page = clients.ListClients(request, metadata=world.pages, timeout=20)
        assert not page.HasField("total_size")
        return [client.first_name for client in page.clients]

    same(first_names(skip=5), seen[5:])
    same(first_names(status=[crm.CLIENT_STATUS_PAUSED]), seen[0::2])
    same(first_names(status=statuses, country="DE"), seen)
    same(first_names(country="NL"), [])


@name("a page token opens only the query and the account that it was made for")
def page_tokens(world):
    request = crm.ListClientsRequest(page_size=3)
    request.page_token = clients.ListClients(request, metadata=world.pages, timeout=20).next_page_token
    other_query = crm.ListClientsRequest(page_size=3, page_token=request.page_token, country="DE")
    for asked, metadata in (request, world.acme), (other_query, world.pages):
        refusal = refused(
            code.INVALID_ARGUMENT, "INVALID_FIELDS", clients.ListClients, asked, metadata=metadata
        )
        same(refusal.fields, ["page_token"])


@name("search finds by the beginnings of words, whatever their case or accents")
def search(world):
    for words, count in ("zoe", 1), ("OKA z", 1), ("kafor", 0), ("zoe nobody", 0):
        request = crm.ListClientsRequest(search=words)
        found = clients.ListClients(request, metadata=world.acme, timeout=20).clients
        same((words, len(found)), (words, count))


@name("an update takes what the mask names, clears what is empty there, leaves the rest")
def update(world):
    change = crm.Client(id=world.client.id, last_name="", country="BE", first_name="ignored")
    request = crm.UpdateClientRequest(client=change, update_mask=FieldMask(paths=["last_name", "country"]))
    changed = clients.UpdateClient(request, metadata=world.acme, timeout=20).client
    same((changed.first_name, changed.last_name, changed.country), ("Zoë", "", "BE"))
    assert changed.etag != world.client.etag
    request.client.etag = world.client.etag
    refused(code.ABORTED, "ETAG_STALE", clients.UpdateClient, request, metadata=world.acme)
    for path in "*", "id", "no_such_field":
        request = crm.UpdateClientRequest(client=change, update_mask=FieldMask(paths=[path]))
        refused(code.INVALID_ARGUMENT, "INVALID_FIELDS", clients.UpdateClient, request, metadata=world.acme)
    world.client = changed


@name("another company's client is NOT_FOUND, whatever is tried, and stays as it was")
def foreign(world):
    own = world.client.id
    for call, request in (
        (clients.GetClient, crm.GetClientRequest(id=own)),
        (clients.UpdateClient, crm.UpdateClientRequest(client=crm.Client(id=own, first_name="Mine"))),
        (clients.DeleteClient, crm.DeleteClientRequest(id=own)),
        (clients.UndeleteClient, crm.UndeleteClientRequest(id=own)),
    ):
        foreign = refused(code.NOT_FOUND, "NOT_FOUND", call, request, metadata=world.globex)
        if call is clients.UpdateClient:
            request.client.id = 1 << 60
        else:
            request.id = 1 << 60
        unknown = refused(code.NOT_FOUND, "NOT_FOUND", call, request, metadata=world.globex)
        same(foreign.message, unknown.message)
    same(len(clients.ListClients(crm.ListClientsRequest(), metadata=world.globex, timeout=20).clients), 0)
    got = clients.GetClient(crm.GetClientRequest(id=own), metadata=world.acme, timeout=20)
    same(got.client, world.client)


@name("a deleted client is gone, its address free, and it comes back")
def delete(world):
    deleted = clients.DeleteClient(
        crm.DeleteClientRequest(id=world.client.id), metadata=world.acme, timeout=20
    ).client
    assert deleted.HasField("delete_time")
    request = crm.GetClientRequest(id=deleted.id)
    refused(code.NOT_FOUND, "NOT_FOUND", clients.GetClient, request, metadata=world.acme)
    heir = crm.CreateClientRequest(client=crm.Client(first_name="Heir", email=deleted.email.upper()))
    heir = clients.CreateClient(heir, metadata=world.acme, timeout=20).client
    undelete = crm.UndeleteClientRequest(id=deleted.id)
    refused(code.ALREADY_EXISTS, "CLIENT_EMAIL_TAKEN", clients.UndeleteClient, undelete, metadata=world.acme)
    clients.DeleteClient(crm.DeleteClientRequest(id=heir.id), metadata=world.acme, timeout=20)
    back = clients.UndeleteClient(undelete, metadata=world.acme, timeout=20).client
    assert not back.HasField("delete_time")
    same((back.first_name, back.email), (world.client.first_name, world.client.email))


@name("an employee reads and may not write; what is lacking is said")
def employee(world):
    email = f"{uuid.uuid4().hex}@acme.example"
    request = employees.CreateEmployeeRequest(
        employee=employees.Employee(email=email, role=access.ROLE_EMPLOYEE), password=PASSWORD
    )
    made = services.employees.CreateEmployee(request, metadata=world.acme, timeout=20).employee
    same((made.account_id, made.is_active, made.is_staff), (world.account_id, True, False))
    world.employee = token(
        services.auth.Login(auth.LoginRequest(email=email, password=PASSWORD), timeout=20).token
    )
    clients.ListClients(crm.ListClientsRequest(), metadata=world.employee, timeout=20)
    create = crm.CreateClientRequest(client=crm.Client(first_name="Not mine to make"))
    refusal = refused(
        code.PERMISSION_DENIED, "PERMISSION_DENIED", clients.CreateClient, create, metadata=world.employee
    )
    same(refusal.details["ErrorInfo"].metadata["permission"], "manage_all_clients")


@name("logout ends a token everywhere and at once, and can be repeated")
def logout(world):
    for _ in range(2):
        services.auth.Logout(auth.LogoutRequest(), metadata=world.employee, timeout=20)
    refusal = refused(
        code.UNAUTHENTICATED,
        "TOKEN_REVOKED",
        clients.ListClients,
        crm.ListClientsRequest(),
        metadata=world.employee,
    )
    same(refusal.message, "Invalid token.")


@name("a session on a device is good everywhere, refreshes itself, and ends at once")
def session(world):
    issue = auth.IssueTokensRequest(email=world.email, password=PASSWORD, device_label="laptop")
    first = services.auth.IssueTokens(issue, timeout=20)
    bearer = (("authorization", f"Bearer {first.access_token}"),)
    clients.ListClients(crm.ListClientsRequest(), metadata=bearer, timeout=20)
    refresh = auth.RefreshTokensRequest(refresh_token=first.refresh_token)
    second = services.auth.RefreshTokens(refresh, timeout=20)
    assert second.refresh_token != first.refresh_token
    sessions = services.auth.ListSessions(auth.ListSessionsRequest(), metadata=bearer, timeout=20).sessions
    same([(it.device_label, it.is_current) for it in sessions], [("laptop", True)])
    with urllib.request.urlopen(f"http://{identity_address}/.well-known/jwks.json", timeout=20) as page:
        assert b'"Ed25519"' in page.read()
    services.auth.Logout(auth.LogoutRequest(), metadata=bearer, timeout=20)
    refused(
        code.UNAUTHENTICATED, "TOKEN_REVOKED", clients.ListClients, crm.ListClientsRequest(), metadata=bearer
    )
    refresh = auth.RefreshTokensRequest(refresh_token=second.refresh_token)
    refused(code.UNAUTHENTICATED, "TOKEN_REVOKED", services.auth.RefreshTokens, refresh)


@name("a program with an API key does what it was given, and nothing for people")
def api_key(world):
    key = keys.ApiKey(name="robot", permissions=[access.PERMISSION_MANAGE_ALL_CLIENTS])
    made = services.api_keys.CreateApiKey(
        keys.CreateApiKeyRequest(api_key=key), metadata=world.acme, timeout=20
    )
    robot = (("authorization", f"Bearer {made.secret}"),)
    create = crm.CreateClientRequest(client=crm.Client(first_name="Made by a robot"))
    clients.CreateClient(create, metadata=robot, timeout=20)
    refused(code.PERMISSION_DENIED, "EMPLOYEES_ONLY", services.auth.GetMe, auth.GetMeRequest(), metadata=robot)
    revoke = keys.RevokeApiKeyRequest(id=made.api_key.id)
    services.api_keys.RevokeApiKey(revoke, metadata=world.acme, timeout=20)
    refused(code.UNAUTHENTICATED, "TOKEN_REVOKED", clients.CreateClient, create, metadata=robot)


@name("whoever is deactivated is out at once, and in again with the same token")
def deactivate(world):
    email = f"{uuid.uuid4().hex}@acme.example"
    request = employees.CreateEmployeeRequest(employee=employees.Employee(email=email), password=PASSWORD)
    made = services.employees.CreateEmployee(request, metadata=world.acme, timeout=20).employee
    theirs = token(services.auth.Login(auth.LoginRequest(email=email, password=PASSWORD), timeout=20).token)
    for is_active in (False, True):
        change = employees.UpdateEmployeeRequest(employee=employees.Employee(id=made.id, is_active=is_active))
        services.employees.UpdateEmployee(change, metadata=world.acme, timeout=20)
        if is_active:
            clients.ListClients(crm.ListClientsRequest(), metadata=theirs, timeout=20)
        else:
            refused(
                code.UNAUTHENTICATED,
                "EMPLOYEE_INACTIVE",
                clients.ListClients,
                crm.ListClientsRequest(),
                metadata=theirs,
            )


@name("who did what is on record")
def records(world):
    request = audit.ListAuditEventsRequest(action="employee.update")
    events = services.audit.ListAuditEvents(request, metadata=world.acme, timeout=20).audit_events
    same([list(event.details["fields"]) for event in events], [["is_active"], ["is_active"]])


@name("gzip is taken and given")
def compression(world):
    zipped = Services(identity_address, crm_address, compression=grpc.Compression.Gzip)
    notes = "much the same, " * 500
    request = crm.CreateClientRequest(client=crm.Client(first_name="Gzip", notes=notes))
    answer = zipped.clients.CreateClient(request, metadata=world.acme, timeout=20)
    same(answer.client.notes, notes)
    packed = gzip.compress(crm.GetClientRequest(id=answer.client.id).SerializeToString())
    headers, body = over_http(
        f"http://{crm_address}/crm.v1.ClientService/GetClient",
        struct.pack(">BI", 1, len(packed)) + packed,
        {"grpc-encoding": "gzip", "grpc-accept-encoding": "gzip", **dict(world.acme)},
    )
    same(headers["grpc-encoding"], "gzip")
    is_compressed, length = struct.unpack(">BI", body[:5])
    same(is_compressed, 1)
    assert length < len(notes) / 10
    same(crm.GetClientResponse.FromString(gzip.decompress(body[5 : 5 + length])).client, answer.client)


@name("a deadline that cannot be met is answered DEADLINE_EXCEEDED, by the server too")
def deadline(world):
    request = auth.LoginRequest(email=world.email, password=PASSWORD)
    try:
        services.auth.Login(request, timeout=0.001)
    except grpc.RpcError as error:
        same(error.code(), code.DEADLINE_EXCEEDED)
    else:
        raise AssertionError("a password was checked within a millisecond")
    message = request.SerializeToString()
    headers, _ = over_http(
        f"http://{identity_address}/identity.v1.AuthService/Login",
        struct.pack(">BI", 0, len(message)) + message,
        {"grpc-timeout": "1m"},
    )
    same((headers["grpc-status"], headers["error-reason"]), ("4", "DEADLINE_EXCEEDED"))


@name("the request id of a refused call comes back with the refusal")
def request_ids(world):
    request_id = str(uuid.uuid4())
    refusal = refused(
        code.NOT_FOUND,
        "NOT_FOUND",
        clients.GetClient,
        crm.GetClientRequest(id=1 << 60),
        metadata=world.acme + (("x-request-id", request_id),),
    )
    same(refusal.trailers["x-request-id"], request_id)


@name("a message beyond the limit is refused as too large, not cut off")
def oversized(world):
    request = crm.CreateClientRequest(client=crm.Client(first_name="Large", notes="x" * (5 << 20)))
    refused(code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", clients.CreateClient, request, metadata=world.acme)


@name("bytes that are no message, and methods that do not exist, have their reasons")
def malformed(world):
    call = services.crm_channel.unary_unary("/crm.v1.ClientService/GetClient")
    refused(code.INVALID_ARGUMENT, "MALFORMED_MESSAGE", call, b"\xff\xff\xff", metadata=world.acme)
    call = services.crm_channel.unary_unary("/crm.v1.ClientService/NoSuchMethod")
    refused(code.UNIMPLEMENTED, "METHOD_UNKNOWN", call, b"", metadata=world.acme)


run(
    [
        sign_up,
        sign_up_repeat,
        login,
        wrong_login,
        bad_tokens,
        create,
        bearer,
        repeat,
        bad_fields,
        very_many_bad_fields,
        missing_fields,
        paging,
        page_tokens,
        search,
        update,
        foreign,
        delete,
        employee,
        logout,
        session,
        api_key,
        deactivate,
        records,
        compression,
        deadline,
        request_ids,
        oversized,
        malformed,
    ],
    World(),
)
