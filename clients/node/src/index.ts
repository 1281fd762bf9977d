/**
 * Reads Clerk users through clerkgate, by gRPC:
 *
 * ```ts
 * import { createClient } from "@clerkgate/client";
 *
 * const clerk = createClient("127.0.0.1:9090");
 * console.log((await clerk.getUser("user_…")).firstName);
 * ```
 *
 * Runtimes without HTTP/2 use `createClient` of `@clerkgate/client/fetch`.
 */
import * as grpc from "@grpc/grpc-js";

import { parseAddress } from "./address.js";
import { checkToken } from "./check.js";
import { Client, type ClientOptions } from "./client.js";
import { createGrpcTransport } from "./grpc.js";

export * from "./exports.js";

/** Options of a client that speaks gRPC. */
export interface GrpcOptions extends ClientOptions {
  /** Use TLS, perhaps with other authorities than the system's or a certificate to show, as PEM. */
  tls?: boolean | { ca?: Buffer | string; cert?: Buffer | string; key?: Buffer | string };
}

/**
 * Returns a client that speaks gRPC. It connects with its first call.
 *
 * @param address `host:port`, a host alone for port 9090, `https://host:port` for TLS
 *   (`https://host` for port 443), or `unix:/path`. Calls take turns at the addresses
 *   that a name has.
 */
export function createClient(address = "127.0.0.1:9090", options: GrpcOptions = {}): Client {
  const { target, tls, host } = parseAddress(address, Boolean(options.tls));
  if (host !== undefined) {
    checkToken(options, tls, host);
  }
  const client = new grpc.Client(target, credentials(tls, options.tls), channelOptions);
  return new Client(createGrpcTransport(client), options, () => client.close());
}

// The server closes connections that ping more often than every 4 s.
const channelOptions: grpc.ChannelOptions = {
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // By default 1 s to 2 min: all calls fail until then, also if the server is back.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 3_000,
  "grpc.primary_user_agent": "clerkgate-node",
};

function credentials(tls: boolean, files: GrpcOptions["tls"]): grpc.ChannelCredentials {
  if (!tls) {
    return grpc.credentials.createInsecure();
  }
  const { ca, cert, key } = typeof files === "object" ? files : {};
  const pem = (text: Buffer | string | undefined) => (text === undefined ? null : Buffer.from(text));
  return grpc.credentials.createSsl(pem(ca), pem(key), pem(cert));
}
