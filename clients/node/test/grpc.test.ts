// The client that speaks gRPC.
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseAddress } from "../src/address.js";
import { createClient } from "../src/index.js";
import { Secured, Server } from "./live.js";
import { failsWith, tests } from "./suite.js";

tests({ name: "gRPC", open: (server, options) => createClient(server.grpc, options) });

test("TLS and tokens", async (t) => {
  const files = new Secured();
  t.after(() => files.remove());
  const server = await Server.start(files.flags);
  t.after(() => server.stop());
  const address = `https://${server.grpc}`;
  using clerk = createClient(address, { tls: { ca: files.ca }, token: async () => `${files.token}\n` });
  assert.equal((await clerk.whoAmI()).name, "billing");
  await assert.rejects(clerk.getUser("user_nobody"), failsWith("NOT_FOUND", "USER_NOT_FOUND"));
  await assert.rejects(clerk.countUsers(), failsWith("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"));
  using stranger = createClient(address, { tls: { ca: files.ca }, token: "cgt_x" });
  await assert.rejects(stranger.getUser("user_nobody"), failsWith("UNAUTHENTICATED", "CALLER_UNKNOWN"));
  using distrustful = createClient(address, { token: files.token, timeoutMs: 3_000 });
  await assert.rejects(distrustful.whoAmI(), failsWith("UNAVAILABLE", undefined));
});

test("a token is not sent in clear", () => {
  for (const address of ["clerkgate.example", "10.0.0.1:9090", "127.0.0.1.example:9090"]) {
    assert.throws(() => createClient(address, { token: "cgt_x" }), TypeError, address);
  }
  for (const address of ["localhost", "127.0.0.1:9090", "[::1]:9090", "unix:/tmp/socket", "https://clerkgate.example"]) {
    createClient(address, { token: "cgt_x" }).close();
  }
});

test("addresses", () => {
  const valid: Record<string, [string, boolean]> = {
    "clerkgate": ["dns:///clerkgate:9090", false],
    "127.0.0.1:19090": ["dns:///127.0.0.1:19090", false],
    "clerkgate:80": ["dns:///clerkgate:80", false],
    "::1": ["dns:///[::1]:9090", false],
    "[::1]:80": ["dns:///[::1]:80", false],
    "http://clerkgate": ["dns:///clerkgate:80", false],
    "http://clerkgate:9090/": ["dns:///clerkgate:9090", false],
    "https://clerkgate.example": ["dns:///clerkgate.example:443", true],
    "https://clerkgate.example:80": ["dns:///clerkgate.example:80", true],
    "https://clerkgate.example:9090/": ["dns:///clerkgate.example:9090", true],
    "unix:/run/clerkgate.sock": ["unix:/run/clerkgate.sock", false],
  };
  for (const [address, want] of Object.entries(valid)) {
    const { target, tls } = parseAddress(address, false);
    assert.deepEqual([target, tls], want, address);
  }
  assert.ok(parseAddress("clerkgate", true).tls);
  for (const address of ["", "ftp://clerkgate", "dns:///clerkgate:9090", "https://", "https://user@clerkgate", "clerkgate:port", "clerkgate/path", "https://clerkgate/path", "https://clerkgate?x"]) {
    assert.throws(() => parseAddress(address, false), { name: "TypeError", message: /^address ".*": want / }, address);
  }
  assert.throws(() => parseAddress("http://clerkgate", true), /want https/);
  assert.throws(() => parseAddress("unix:/run/clerkgate.sock", true), /has no TLS/);
});
