// The client that uses fetch, with Node's own fetch, which has no HTTP/2.
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
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

test("URLs", () => {
  for (const url of ["", "127.0.0.1:9091", "localhost:9091", "unix:/socket", "ftp://clerkgate", "https://clerkgate?x=1"]) {
    assert.throws(() => createClient(url), { name: "TypeError", message: /want http:/ }, url);
  }
  createClient(new URL("https://clerkgate.example/behind/a/proxy"));
});

test("a server that goes away while it answers is UNAVAILABLE, and the call is tried again", async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 100\r\n\r\nhalf");
      socket.end();
    });
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const clerk = createClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await assert.rejects(clerk.getUser("user_x"), failsWith("UNAVAILABLE", undefined));
  assert.equal(connections, 3);
});
