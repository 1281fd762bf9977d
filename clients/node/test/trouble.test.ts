// What a real server does only in trouble.
import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DurationSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";

import { Client, type ClientOptions } from "../src/client.js";
import { ClerkgateError, fromCall, NotReleasedError } from "../src/errors.js";
import { QuotaService, type ReleasePermitsRequest } from "../src/gen/clerkgate/v1/quota_service_pb.js";
import { UserSchema } from "../src/gen/clerkgate/v1/user_pb.js";
import {
  type BatchGetUsersResponseSchema,
  ErrorReason,
  type StreamUsersRequest,
  type StreamUsersResponseSchema,
  UserService,
} from "../src/gen/clerkgate/v1/user_service_pb.js";
import { RetryBudget } from "../src/retry.js";
import { toUser } from "../src/user.js";
import { collect } from "./live.js";

function fake(
  users: Partial<ServiceImpl<typeof UserService>>,
  quota: Partial<ServiceImpl<typeof QuotaService>> = {},
  options: ClientOptions = {},
): Client {
  const transport = createRouterTransport((router) => router.service(UserService, users).service(QuotaService, quota));
  return new Client(transport, options);
}

/** Returns an error as the server's. */
function refusal(code: Code, reason: string, retryMs?: number): ConnectError {
  const metadata = { "clerkgate-reason": reason, ...(retryMs && { "clerkgate-retry-ms": String(retryMs) }) };
  return new ConnectError("refused", code, metadata);
}

const someUser = (id: string) => ({ user: { id } });

test("retries UNAVAILABLE only", async () => {
  const calls: Headers[] = [];
  const getUser = ({ userId }: { userId: string }, { requestHeader }: HandlerContext) => {
    calls.push(requestHeader);
    if (userId === "user_full") {
      throw refusal(Code.ResourceExhausted, "QUEUE_FULL", 1500);
    }
    if (calls.length < 3) {
      throw refusal(Code.Unavailable, "SHUTTING_DOWN");
    }
    return someUser(userId);
  };
  const clerk = fake({ getUser }, {}, { caller: "tests", priority: "batch", token: () => "cgt_x" });
  assert.equal((await clerk.getUser("user_x")).id, "user_x");
  assert.equal(calls.length, 3);
  assert.equal(calls[0]!.get("clerkgate-caller"), "tests");
  assert.equal(calls[0]!.get("clerkgate-priority"), "batch");
  assert.equal(calls[0]!.get("authorization"), "Bearer cgt_x");
  calls.length = 0;
  await assert.rejects(clerk.getUser("user_full", { priority: "interactive" }), (error: ClerkgateError) => {
    assert.deepEqual([error.code, error.reason, error.retryAfterMs], ["RESOURCE_EXHAUSTED", "QUEUE_FULL", 1500]);
    return true;
  });
  assert.equal(calls.length, 1);
  assert.equal(calls[0]!.get("clerkgate-priority"), "interactive");
});

test("does not wait for a retry that would come too late", async () => {
  let calls = 0;
  const getUser = () => {
    calls++;
    throw refusal(Code.Unavailable, "BREAKER_OPEN", 20_000);
  };
  await assert.rejects(fake({ getUser }).getUser("user_x"), { reason: "BREAKER_OPEN" });
  assert.equal(calls, 1);
});

test("an outage does not triple the calls", async () => {
  let calls = 0;
  const getUser = () => {
    calls++;
    throw refusal(Code.Unavailable, "SHUTTING_DOWN");
  };
  const clerk = fake({ getUser });
  await Promise.allSettled(Array.from({ length: 60 }, () => clerk.getUser("user_x")));
  assert.ok(calls <= 60 + 49, String(calls)); // after 50 failures no call is retried
});

test("ten calls that succeed make up for one failure", () => {
  const budget = new RetryBudget();
  while (budget.failed()) {
    // Use it up.
  }
  for (let i = 0; i < 9; i++) {
    budget.succeeded();
  }
  assert.equal(budget.failed(), false);
  for (let i = 0; i < 12; i++) {
    budget.succeeded();
  }
  assert.equal(budget.failed(), true);
});

test("a call of a batch that fails takes only its own ids with it", async () => {
  const clerk = fake({
    batchGetUsers: ({ userIds }) => {
      if (userIds.length === 100 && userIds.includes("user_100")) {
        throw refusal(Code.ResourceExhausted, "QUEUE_FULL");
      }
      // Ten users fit into an answer.
      const results: MessageInitShape<typeof BatchGetUsersResponseSchema>["results"] = userIds.map((userId, i) => ({
        userId,
        result:
          i < 10
            ? { case: "user", value: { id: userId } }
            : { case: "error", value: { code: Code.ResourceExhausted, reason: ErrorReason.ANSWER_TOO_LARGE } },
      }));
      return { results };
    },
  });
  const ids = Array.from({ length: 230 }, (_, i) => `user_${i}`);
  const { users, errors } = await clerk.batchGetUsers(ids);
  assert.deepEqual([...errors.keys()].sort(), ids.slice(100, 200).sort());
  assert.equal(users.size, 130);
  await assert.rejects(clerk.batchGetUsers(ids.slice(100, 200)), { reason: "QUEUE_FULL" });
  await assert.rejects(clerk.batchGetUsers("user_x"), TypeError);
  assert.equal((await clerk.batchGetUsers([])).users.size, 0);
});

test("streams resume", async () => {
  const tokens: string[] = [];
  const clerk = fake({
    async *streamUsers({ resumeToken }: StreamUsersRequest): AsyncGenerator<MessageInitShape<typeof StreamUsersResponseSchema>> {
      tokens.push(resumeToken);
      const n = tokens.length;
      yield { users: [{ id: `user_${n}` }], resumeToken: n < 3 ? String(n) : "" };
      throw n === 1 ? refusal(Code.Aborted, "STREAM_NOT_READ") : refusal(Code.ResourceExhausted, "DEADLINE_TOO_SHORT", 10);
    },
  });
  assert.deepEqual((await collect(clerk.streamUsers())).map(({ id }) => id), ["user_1", "user_2", "user_3"]);
  assert.deepEqual(tokens, ["", "1", "2"]);
});

test("streams end with an error that does not pass", async () => {
  const clerk = fake({
    async *streamUsers() {
      yield { users: [{ id: "user_1" }], resumeToken: "1" };
      throw refusal(Code.Aborted, "TOKEN_OUTDATED");
    },
  });
  await assert.rejects(collect(clerk.streamUsers()), { code: "ABORTED", reason: "TOKEN_OUTDATED" });
});

test("a stream that ends without its last message is an error", async () => {
  const clerk = fake({
    async *streamUsers() {
      yield { users: [{ id: "user_1" }], resumeToken: "1" };
    },
  });
  await assert.rejects(collect(clerk.streamUsers()), { code: "INTERNAL", message: /last message/ });
});

test("users who can't be read are handed over", async () => {
  const clerk = fake({ listUsers: () => ({ unreadable: [{ userId: "user_1", message: "odd" }] }) });
  const leftOut: (string | undefined)[] = [];
  await collect(clerk.listUsers({ onUnreadable: ({ userId }) => leftOut.push(userId) }));
  assert.deepEqual(leftOut, ["user_1"]);
});

test("requests of work that fails count as unanswered", async () => {
  const released: ReleasePermitsRequest[] = [];
  const clerk = fake({}, { acquirePermits: () => ({ leaseId: "1" }), releasePermits: (request) => (released.push(request), {}) });
  const work = clerk.withPermits(3, async (lease) => {
    lease.used = 2;
    throw new RangeError("own");
  });
  await assert.rejects(work, RangeError);
  assert.deepEqual([released[0]!.usedCount, released[0]!.unansweredCount], [2, 2]);
});

test("a lease that has ended is no failure of the work, and its users are dropped from the caches", async () => {
  for (const reason of ["LEASE_NOT_FOUND", "LEASE_UNREACHABLE"]) {
    const invalidated: string[] = [];
    const clerk = fake(
      { invalidateUsers: ({ userIds }) => (invalidated.push(...userIds), {}) },
      {
        acquirePermits: () => ({ leaseId: "1" }),
        releasePermits: () => {
          throw refusal(Code.NotFound, reason);
        },
      },
    );
    const ids = Array.from({ length: 130 }, (_, i) => `user_${i}`);
    assert.equal(await clerk.withPermits(1, async (lease) => lease.changedUserIds.push(...ids)), 130);
    assert.deepEqual(invalidated, ids, reason);
  }
});

test("a lease that can't be returned is told from work that failed", async () => {
  const clerk = fake(
    {},
    {
      acquirePermits: () => ({ leaseId: "1" }),
      releasePermits: () => {
        throw refusal(Code.PermissionDenied, "CALLER_NOT_ALLOWED");
      },
    },
  );
  await assert.rejects(clerk.withPermits(1, async () => {}), (error) => {
    assert.ok(error instanceof NotReleasedError && error instanceof ClerkgateError);
    assert.deepEqual([error.code, error.reason, (error.cause as Error).name], ["PERMISSION_DENIED", "CALLER_NOT_ALLOWED", "ClerkgateError"]);
    return true;
  });
  await assert.rejects(clerk.withPermits(1, async () => Promise.reject(new RangeError("own"))), RangeError);
});

test("no error shows a token that can't be sent", async () => {
  for (const token of ["cgt_secret\nx", "cgt_secreté", "cgt_secret日", "cgt_secret x", " ", ""]) {
    const safe = (error: unknown) => {
      assert.ok(error instanceof TypeError, String(error));
      assert.doesNotMatch(`${error} ${error.cause}`, /secret/);
      return true;
    };
    assert.throws(() => fake({}, {}, { token }), safe);
    await assert.rejects(fake({}, {}, { token: () => token }).getUser("user_x"), safe);
  }
});

test("what can't be sent is a TypeError", async () => {
  const clerk = fake({ getUser: () => someUser("user_x") });
  for (const timeoutMs of [0, -1, NaN, Infinity, 2 ** 31, "5000" as never, null as never]) {
    if (timeoutMs !== null) {
      await assert.rejects(clerk.getUser("user_x", { timeoutMs }), TypeError, String(timeoutMs));
    }
    assert.throws(() => fake({}, {}, { timeoutMs }), TypeError, String(timeoutMs));
  }
  for (const options of [{ caller: "a b" }, { caller: "é" }, { caller: "x".repeat(65) }, { priority: "high" as never }]) {
    assert.throws(() => fake({}, {}, options), TypeError, JSON.stringify(options));
  }
  await assert.rejects(clerk.getUser("user_x", { maxAgeMs: NaN }), TypeError);
  await assert.rejects(clerk.getUser("user_x", { minUpdatedAt: new Date("x") }), TypeError);
  await assert.rejects(clerk.countUsers({ banned: null } as never), TypeError);
  await assert.rejects(clerk.countUsers({ createdAtBefore: new Date("x") }), TypeError);
  await assert.rejects(clerk.batchGetUsers(undefined as never), TypeError);
  await assert.rejects(clerk.batchGetUsers(null as never), TypeError);
  await assert.rejects(clerk.invalidateUsers(undefined as never), TypeError);
  await assert.rejects(clerk.permits(1.5), TypeError);
  await assert.rejects(clerk.listUsers({ pageSize: 1e12 }).next(), TypeError);
  assert.equal((await clerk.getUser("user_x", { timeoutMs: 1500.5, minUpdatedAt: new Date(0) })).id, "user_x");
});

test("errors are read from details where there are no trailers", () => {
  const error = new ConnectError("refused", Code.ResourceExhausted);
  const delay = toBinary(DurationSchema, create(DurationSchema, { seconds: 2n }));
  error.details = [
    { type: "google.rpc.ErrorInfo", value: Buffer.from("\x0a\x0aQUEUE_FULL\x12\x09clerkgate") },
    { type: "google.rpc.RetryInfo", value: Buffer.concat([Buffer.of(0x0a, delay.length), delay]) },
    { type: "google.rpc.BadRequest", value: Buffer.of(0x0a, 0) },
  ];
  const { code, reason, retryAfterMs } = fromCall(error);
  assert.deepEqual([code, reason, retryAfterMs], ["RESOURCE_EXHAUSTED", "QUEUE_FULL", 2000]);
});

test("users are plain data", () => {
  const message = create(UserSchema, {
    id: "user_x",
    publicMetadataJson: '{"plan":"pro"}',
    createdAt: timestampFromMs(1_767_000_000_123),
    primaryEmailAddressId: "idn_2",
    emailAddresses: [{ id: "idn_1", emailAddress: "a@example.org" }, { id: "idn_2", emailAddress: "b@example.org" }],
    organizationMemberships: [{ id: "orgmem_1", privateMetadataJson: '{"a":[1]}', organization: { id: "org_1" } }],
  });
  const user = toUser(message, undefined);
  const plan: unknown = user.publicMetadata.plan;
  assert.equal(plan, "pro");
  assert.equal(user.createdAt?.getTime(), 1_767_000_000_123);
  assert.equal(user.primaryEmailAddress, "b@example.org");
  assert.deepEqual(user.organizationMemberships[0]?.privateMetadata, { a: [1] });
  assert.deepEqual(user.organizationMemberships[0]?.organization?.publicMetadata, {});
  assert.equal(user.banned, undefined);
  assert.deepEqual(Object.keys(user).filter((name) => name.startsWith("$") || name.endsWith("Json")), []);
});
