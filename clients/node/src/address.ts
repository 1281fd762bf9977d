import { isIPv6 } from "node:net";

/** Where a client connects to. */
export interface Address {
  /** The address in the form of gRPC. */
  target: string;
  tls: boolean;
  /** Undefined: a Unix socket. */
  host?: string;
}

/** Returns what an address means. `wantTLS` reports whether TLS is configured. */
export function parseAddress(address: string, wantTLS: boolean): Address {
  const invalid = (want: string) => new TypeError(`address ${JSON.stringify(address)}: ${want}`);
  if (address.startsWith("unix:")) {
    if (wantTLS) {
      throw invalid("a Unix socket has no TLS");
    }
    return { target: address, tls: false };
  }
  const [, scheme, rest] = /^(?:(https?):\/\/)?(.*)$/s.exec(address)!;
  if (scheme === "http" && wantTLS) {
    throw invalid("http:// means no TLS; want https://");
  }
  const authority = isIPv6(rest!) ? `[${rest}]` : rest!.replace(/\/$/, "");
  let url: URL;
  try {
    url = new URL(`http://${authority}`);
  } catch {
    throw invalid("want host:port, unix:/path or https://host:port");
  }
  if (url.username || url.password || /[/?#]/.test(authority)) {
    throw invalid("want host:port, unix:/path or https://host:port, and nothing else");
  }
  // URL leaves out http's own port.
  const port = url.port || (/:80$/.test(authority) ? "80" : { http: "80", https: "443" }[scheme ?? ""] ?? "9090");
  return { target: `dns:///${url.hostname}:${port}`, tls: scheme === "https" || wantTLS, host: url.hostname };
}
