// What a page does with both services: grpc-web from another origin, with a generated client.

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { ClientService } from "./gen/crm/v1/client_service_pb";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb";
import { AuthService } from "./gen/identity/v1/auth_service_pb";

type Check = { name: string; flaw: string };

const withToken = (token: () => string): Interceptor => (next) => (request) => {
  if (token()) request.header.set("authorization", `Token ${token()}`);
  return next(request);
};

function clients(identityUrl: string, crmUrl: string, token: () => string) {
  const transport = (baseUrl: string) => createGrpcWebTransport({ baseUrl, interceptors: [withToken(token)] });
  return {
    auth: createClient(AuthService, transport(identityUrl)),
    crm: createClient(ClientService, transport(crmUrl)),
  };
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call was answered, not refused");
}

function same(left: unknown, right: unknown) {
  if (JSON.stringify(left) !== JSON.stringify(right)) {
    throw new Error(`${JSON.stringify(left)} is not ${JSON.stringify(right)}`);
  }
}

/** Walks both services as a signed-in page would. */
async function walk(identityUrl: string, crmUrl: string): Promise<Check[]> {
  let token = "";
  const { auth, crm } = clients(identityUrl, crmUrl, () => token);
  const checks: Check[] = [];
  const check = async (name: string, body: () => Promise<void>) => {
    let flaw = "";
    await body().catch((error) => (flaw = String(error)));
    checks.push({ name, flaw });
  };
  const reasons = (error: ConnectError) => [
    error.metadata.get("error-reason"),
    error.findDetails(ErrorInfoSchema)[0]?.reason,
  ];

  await check("a page on another origin reads a result of identity-service", async () => {
    const answer = await auth.signUp({
      account: { name: "Browser" },
      employee: { email: `${crypto.randomUUID()}@browser.example`, password: "correct horse battery staple" },
    });
    same(answer.account?.name, "Browser");
    token = answer.token;
  });
  await check("it reads results of crm-service: a client created and found", async () => {
    const { client } = await crm.createClient({ client: { firstName: "Zoë" } });
    const found = await crm.listClients({ search: "zoe", includeTotal: true });
    same([found.clients.map((c) => c.id), String(found.totalSize)], [[client?.id], "1"]);
  });
  await check("it reads a refusal with its reason, in the trailer and in the details", async () => {
    const error = await refusal(crm.getClient({ id: "1152921504606846976" }));
    same([error.code, ...reasons(error)], [Code.NotFound, "NOT_FOUND", "NOT_FOUND"]);
  });
  await check("it reads which fields were bad", async () => {
    const error = await refusal(crm.createClient({ client: { firstName: "Zoë", country: "XX", email: "-" } }));
    const fields = error.findDetails(BadRequestSchema).flatMap((d) => d.fieldViolations.map((v) => v.field));
    same([error.code, ...reasons(error)], [Code.InvalidArgument, "INVALID_FIELDS", "INVALID_FIELDS"]);
    same(fields.sort(), ["client.country", "client.email"]);
  });
  await check("it learns that its token was taken back", async () => {
    await auth.logout({});
    const error = await refusal(crm.listClients({}));
    same([error.code, ...reasons(error)], [Code.Unauthenticated, "TOKEN_REVOKED", "TOKEN_REVOKED"]);
  });
  return checks;
}

/** One call from where no call may come from: what the page gets to know of it. */
async function knock(crmUrl: string) {
  const error = await refusal(clients(crmUrl, crmUrl, () => "0".repeat(40)).crm.listClients({}));
  return { reason: error.metadata.get("error-reason"), message: error.rawMessage };
}

Object.assign(globalThis, { walk, knock });
