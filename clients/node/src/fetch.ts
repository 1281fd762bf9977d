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

import { checkToken } from "./check.js";
import { Client, type ClientOptions } from "./client.js";

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
  if (!/^https?:\/\/[^?#]+$/i.test(String(url))) {
    throw new TypeError(`url ${JSON.stringify(String(url))}: want http://host:port or https://host`);
  }
  const { protocol, hostname } = new URL(url);
  checkToken(options, protocol === "https:", hostname);
  const transport = createConnectTransport({
    baseUrl: String(url).replace(/\/$/, ""),
    useBinaryFormat: true,
    fetch: reaching(options.fetch ?? globalThis.fetch),
  });
  return new Client(transport, options);
}

/** Returns a fetch that fails with UNAVAILABLE if the server can't be reached, or goes away while it answers. */
function reaching(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const gone = (error: unknown, message: string) => {
      init?.signal?.throwIfAborted();
      return new ConnectError(message, Code.Unavailable, undefined, undefined, error);
    };
    let response: Response;
    try {
      // The server never redirects. Some runtimes do not know Connect's own choice, "error".
      response = await fetch(input, { ...init, redirect: "manual" });
    } catch (error) {
      throw gone(error, "the server can't be reached");
    }
    if (!response.ok || response.body === null) {
      return response;
    }
    const reader = response.body.getReader();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          done ? controller.close() : controller.enqueue(value);
        } catch (error) {
          throw gone(error, "the connection broke");
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, response);
  };
}
