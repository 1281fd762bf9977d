// Tests of every method, against real servers with simulated users.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { ClerkgateError, type Client, type ClientOptions, ServedFrom, type User } from "../src/exports.js";
import { collect, Server } from "./live.js";

/** One kind of client. */
export interface Kind {
  name: string;
  open(server: { grpc: string; http: string }, options?: ClientOptions): Client;
}

/** Returns a predicate for assert.rejects. */
export function failsWith(code: string, reason: string | undefined) {
  return (error: unknown) => {
    assert.ok(error instanceof ClerkgateError, String(error));
    assert.deepEqual([error.code, error.reason], [code, reason]);
    return true;
  };
}

export function tests({ name, open }: Kind): void {
  describe(name, () => {
    let server: Server;
    let clerk: Client;
    let all: User[];

    before(async () => {
      server = await Server.start(["--sim-users", "1000"]);
      clerk = open(server, { caller: "tests", timeoutMs: 30_000 });
      all = await collect(clerk.listUsers({ pageSize: 500 }));
    });
    after(async () => {
      clerk.close();
      await server.stop();
    });

    test("listUsers", async () => {
      assert.equal(new Set(all.map(({ id }) => id)).size, 1000);
      const three: string[] = [];
      for await (const { id } of clerk.listUsers({ pageSize: 2 })) {
        if (three.push(id) === 3) {
          break;
        }
      }
      assert.deepEqual(three, all.slice(0, 3).map(({ id }) => id));
    });

    test("filters", async () => {
      const wanted = all[5]!;
      const found = await collect(clerk.listUsers({ filter: { emailAddresses: [wanted.primaryEmailAddress!] } }));
      assert.deepEqual(found.map(({ id }) => id), [wanted.id]);
      assert.ok((await clerk.countUsers({ createdAtBefore: wanted.createdAt, banned: false })) < 1000);
      await assert.rejects(clerk.countUsers({ bannned: true } as object), TypeError);
      await assert.rejects(clerk.countUsers({ query: undefined }), TypeError);
      await assert.rejects(clerk.countUsers({ userIds: wanted.id as never }), TypeError);
    });

    test("getUser", async () => {
      const user = await clerk.getUser(all[0]!.id, { maxAgeMs: 0 });
      assert.equal(user.id, all[0]!.id);
      assert.equal(user.freshness?.servedFrom, ServedFrom.UPSTREAM);
      assert.equal(typeof user.freshness?.age, "number");
      assert.ok(user.createdAt instanceof Date && user.createdAt < new Date());
      assert.match(user.primaryEmailAddress!, /@/);
      assert.equal(typeof user.publicMetadata, "object");
      assert.equal(user.privateMetadata, undefined);
      const full = await clerk.getUser(user.id, { full: true, minUpdatedAt: user.updatedAt });
      assert.equal(typeof full.privateMetadata, "object");
      JSON.stringify(full); // no bigint anywhere
    });

    test("errors", async () => {
      await assert.rejects(clerk.getUser("user_nobody"), failsWith("NOT_FOUND", "USER_NOT_FOUND"));
      await assert.rejects(clerk.getUser("-user_x"), failsWith("INVALID_ARGUMENT", "INVALID_ARGUMENT"));
      await assert.rejects(clerk.getUser("-user_x"), /user_id: must be/);
      await assert.rejects(clerk.getUser("-user_x"), ({ requestId }) => /^[0-9a-f]{16}$/.test(requestId));
      const stream = clerk.streamUsers({ orderBy: "last_name" });
      await assert.rejects(stream.next(), ({ code, requestId }) => code === "INVALID_ARGUMENT" && /^[0-9a-f]{16}$/.test(requestId));
    });

    test("batchGetUsers", async () => {
      const ids = all.slice(0, 250).map(({ id }) => id);
      const { users, errors } = await clerk.batchGetUsers([...ids, ids[0]!, "user_nobody", "-user_x"]);
      assert.deepEqual([...users.keys()].sort(), [...ids].sort());
      assert.deepEqual([errors.get("user_nobody")?.code, errors.get("user_nobody")?.reason], ["NOT_FOUND", "USER_NOT_FOUND"]);
      assert.equal(errors.get("-user_x")?.reason, "INVALID_ARGUMENT");
      assert.equal(errors.size, 2);
    });

    test("streamUsers", async () => {
      const ids = (await collect(clerk.streamUsers())).map(({ id }) => id);
      assert.deepEqual(ids, all.map(({ id }) => id).reverse());
    });

    test("countUsers", async () => {
      assert.equal(await clerk.countUsers(), 1000);
    });

    test("invalidateUsers", async () => {
      await clerk.getUser(all[1]!.id);
      await clerk.invalidateUsers([all[1]!.id]);
      assert.equal((await clerk.getUser(all[1]!.id)).freshness?.servedFrom, ServedFrom.UPSTREAM);
    });

    test("quota, usage, whoAmI", async () => {
      const quota = await clerk.getQuota();
      assert.deepEqual([quota.limit, quota.window], [100, 10_000]);
      assert.equal(typeof quota.breaker?.timesOpened, "number");
      for await (const { limit } of clerk.watchQuota({ minIntervalMs: 100 })) {
        assert.equal(limit, 100);
        break;
      }
      const usage = await clerk.getUsage();
      assert.ok(usage.totals!.upstreamRequests > 0);
      assert.ok(usage.callers.some(({ name }) => name === "tests"));
      assert.equal((await clerk.whoAmI()).name, "");
    });

    test("permits", async () => {
      const { id } = all[2]!;
      await clerk.getUser(id);
      {
        await using lease = await clerk.permits(2, { ttlMs: 20_000 });
        assert.ok(lease.remainingMs > 15_000 && lease.remainingMs <= 20_000);
        assert.equal((await clerk.getQuota()).leased, 2);
        lease.used = 1;
        lease.changedUserIds.push(id);
      }
      assert.equal((await clerk.getQuota()).leased, 0);
      assert.equal((await clerk.getUser(id)).freshness?.servedFrom, ServedFrom.UPSTREAM);
      assert.equal(await clerk.withPermits(1, async (lease) => lease.count), 1);
      await assert.rejects(clerk.withPermits(1, () => Promise.reject(new RangeError("own"))), RangeError);
      assert.equal((await clerk.getQuota()).leased, 0);
    });

    test("a call that can't be had in time is refused with the time to come back", async (t) => {
      const slow = await Server.start(["--quota", "1/60s"]);
      t.after(() => slow.stop());
      using client = open(slow);
      await client.countUsers();
      await assert.rejects(client.countUsers(), (error: ClerkgateError) => {
        failsWith("RESOURCE_EXHAUSTED", "DEADLINE_TOO_SHORT")(error);
        assert.ok(error.retryAfterMs! > 10_000 && error.retryAfterMs! <= 61_000, String(error.retryAfterMs));
        return true;
      });
      // A call that may take longer waits, until it is cancelled.
      const controller = new AbortController();
      const waiting = client.countUsers(undefined, { timeoutMs: 120_000, signal: controller.signal });
      while ((await client.getQuota()).queue?.interactive?.depth !== 1);
      controller.abort(new RangeError("own"));
      await assert.rejects(waiting, RangeError);
      while ((await client.getQuota()).queue?.interactive?.depth !== 0);
    });

    test("no server", async () => {
      using client = open({ grpc: "127.0.0.1:1", http: "127.0.0.1:1" }, { timeoutMs: 5_000 });
      await assert.rejects(client.getUser("user_x"), failsWith("UNAVAILABLE", undefined));
      const controller = new AbortController();
      controller.abort(new RangeError("own"));
      await assert.rejects(client.getUser("user_x", { signal: controller.signal }), RangeError);
      await assert.rejects(client.streamUsers({ signal: controller.signal }).next(), RangeError);
    });

    test("a stream goes on where it was when its server stopped", async (t) => {
      let server = await Server.start(["--sim-users", "3000"]);
      t.after(() => server.stop());
      using client = open(server);
      const watch = client.watchQuota();
      await watch.next();
      const ids = new Set<string>();
      let count = 0;
      for await (const { id } of client.streamUsers()) {
        ids.add(id);
        if (++count === 50) {
          await server.stop();
          server = await Server.start(["--sim-users", "3000"], server);
        }
      }
      assert.deepEqual([count, ids.size], [3000, 3000]);
      assert.equal((await watch.next()).value?.limit, 100);
      await watch.return();
    });

    test("close ends what is under way, and later calls fail", async () => {
      const client = open(server);
      const watch = client.watchQuota({ minIntervalMs: 60_000 });
      await watch.next();
      const calls = Array.from({ length: 20 }, () => client.getUser(all[0]!.id, { maxAgeMs: 0 }));
      const pending = [watch.next(), ...calls];
      client.close();
      for (const result of await Promise.allSettled(pending)) {
        assert.ok(result.status === "rejected");
        failsWith("CANCELLED", undefined)(result.reason);
      }
      await assert.rejects(client.getUser(all[0]!.id), failsWith("CANCELLED", undefined));
      await assert.rejects(client.streamUsers().next(), failsWith("CANCELLED", undefined));
      client.close();
    });

    test("leaving a stream ends it at the server", async (t) => {
      // The server lets a caller have one stream.
      const strict = await Server.start(["--max-streams-per-caller", "1"]);
      t.after(() => strict.stop());
      using client = open(strict);
      for (let i = 0; i < 3; i++) {
        for await (const user of retrying(() => client.streamUsers())) {
          assert.ok(user.id);
          break;
        }
      }
    });
  });
}

/** Iterates again while the server has not noticed yet that the stream before has ended. */
async function* retrying<T>(iterate: () => AsyncIterable<T>): AsyncGenerator<T> {
  for (const deadline = Date.now() + 20_000; ; ) {
    try {
      return yield* iterate();
    } catch (error) {
      if (!(error instanceof ClerkgateError) || error.reason !== "CALLER_OVER_QUOTA" || Date.now() > deadline) {
        throw error;
      }
    }
  }
}
