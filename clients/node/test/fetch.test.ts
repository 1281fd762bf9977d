// The client that uses fetch, with Node's own fetch, which has no HTTP/2.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../src/fetch.js";
import { Secured, Server } from "./live.js";
import { failsWith, tests } from "./suite.js";

tests({ name: "fetch", open: (server, options) => createClient(`http://${server.http}`, options) });

test("tokens", async (t) => {
  const files = new Secured();
  t.after(() => files.remove());
  const server = await Server.start([...files.flags, "--http-tls-cert-file", "off"]);
  t.after(() => server.stop());
  const clerk = createClient(`http://${server.http}/`, { token: async () => `${files.token}\n` });
  assert.equal((await clerk.whoAmI()).name, "billing");
  await assert.rejects(clerk.getUser("user_nobody"), failsWith("NOT_FOUND", "USER_NOT_FOUND"));
  await assert.rejects(clerk.countUsers(), failsWith("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"));
  const stranger = createClient(`http://${server.http}`, { token: "cgt_x" });
  await assert.rejects(stranger.getUser("user_nobody"), failsWith("UNAUTHENTICATED", "CALLER_UNKNOWN"));
  assert.throws(() => createClient("http://clerkgate.example", { token: "cgt_x" }), TypeError);
});
