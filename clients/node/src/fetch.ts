/**
 * Reads Clerk users through clerkgate's HTTP listener, by fetch and Connect, for edge
 * runtimes, which have no gRPC:
 *
 * ```ts
 * import { createClient } from "@clerkgate/client/fetch";
 *
 * const clerk = createClient("https://clerkgate.example:9091", { token: env.CLERKGATE_TOKEN });
 * ```
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { checkToken, Client, type ClientOptions } from "./client.js";

export * from "./exports.js";

/** Options of a client that uses fetch. */
export interface FetchOptions extends ClientOptions {
  /** The fetch to use. Default: the runtime's own. */
  fetch?: typeof globalThis.fetch;
}

/**
 * Returns a client that uses fetch. Certificates and connections are the runtime's.
 *
 * @param url the URL of the server's HTTP listener.
 */
export function createClient(url: string | URL = "http://127.0.0.1:9091", options: FetchOptions = {}): Client {
  const { protocol, hostname } = new URL(url);
  checkToken(options, protocol === "https:", hostname);
  const transport = createConnectTransport({
    baseUrl: String(url).replace(/\/$/, ""),
    useBinaryFormat: true,
    fetch: reaching(options.fetch ?? globalThis.fetch),
  });
  return new Client(transport, options);
}

/** Returns a fetch that fails with UNAVAILABLE if the server can't be reached. */
function reaching(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    try {
      // The server never redirects. Some runtimes do not know Connect's own choice, "error".
      return await fetch(input, { ...init, redirect: "manual" });
    } catch (error) {
      init?.signal?.throwIfAborted();
      throw new ConnectError("the server can't be reached", Code.Unavailable, undefined, undefined, error);
    }
  };
}
