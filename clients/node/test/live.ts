// Starts real servers with simulated users.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The root of the repository. Tests run from clients/node/out/test. */
export const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** A `clerkgate serve --sim`, of the program that `make build` makes. */
export class Server {
  readonly #process: ChildProcess;

  private constructor(
    process: ChildProcess,
    readonly grpc: string,
    readonly http: string,
  ) {
    this.#process = process;
  }

  static start(flags: string[] = [], at = { grpc: "127.0.0.1:0", http: "127.0.0.1:0" }): Promise<Server> {
    const process = spawn(
      join(repository, "bin/clerkgate"),
      ["serve", "--sim", "--grpc-listen", at.grpc, "--http-listen", at.http, ...flags],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    return new Promise((resolve, reject) => {
      let log = "";
      createInterface({ input: process.stderr }).on("line", (line) => {
        log += line + "\n";
        const listening = /msg=serving .*grpc=(\S+) http=(\S+)/.exec(line);
        if (listening) {
          resolve(new Server(process, listening[1]!, listening[2]!));
        }
      });
      process.on("exit", () => reject(new Error(`clerkgate did not start: ${log}`)));
    });
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await exited;
  }
}

/** Files of a server with TLS that knows one caller, who has a token. */
export class Secured {
  readonly #dir = mkdtempSync(join(tmpdir(), "clerkgate-"));
  readonly token = `cgt_${randomBytes(32).toString("base64url")}`;
  readonly caFile: string;
  readonly ca: Buffer;
  readonly flags: string[];

  constructor() {
    const [cert, key, callers] = ["tls.crt", "tls.key", "callers.yaml"].map((name) => join(this.#dir, name)) as [string, string, string];
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", key, "-out", cert, "-days", "2", ...names], { stdio: "pipe" });
    this.caFile = cert;
    this.ca = readFileSync(cert);
    const hash = createHash("sha256").update(this.token).digest("hex");
    const identity = `{tokens: [{sha256: ${hash}}]}`;
    writeFileSync(callers, `callers: [{name: billing, identity: ${identity}, allow: {methods: [GetUser]}}]\n`);
    this.flags = ["--tls-cert-file", cert, "--tls-key-file", key, "--callers-file", callers];
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true });
  }
}

/** Returns all that an iteration yields. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}
