// The package as it would be published, installed elsewhere.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { repository, Secured, Server } from "./live.js";

const source = join(repository, "clients/node");
const folder = mkdtempSync(join(tmpdir(), "clerkgate-"));
let server: Server;

async function run(command: string, ...args: string[]): Promise<string> {
  try {
    return (await promisify(execFile)(command, args, { cwd: folder })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
  }
}

/** Returns the blocks of TypeScript on a page. */
function blocks(page: string): string[] {
  const text = readFileSync(join(repository, page), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
}

before(async () => {
  server = await Server.start();
  await run("npm", "pack", "--silent", "--pack-destination", folder, source);
  const archive = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), '{"private": true, "type": "module"}');
  const compiler = ["typescript", "@types/node"].map((name) => join(source, "node_modules", name));
  await run("npm", "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", archive!, ...compiler);
});
after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true });
});

test("the package has what it should, and no more", async () => {
  const files = readdirSync(join(folder, "node_modules/@clerkgate/client"));
  assert.deepEqual(files.sort(), ["LICENSE", "README.md", "dist", "package.json"]);
});

test("the example runs", async () => {
  copyFileSync(join(source, "example.mjs"), join(folder, "example.mjs"));
  const printed = await run("node", "example.mjs", server.grpc);
  assert.match(printed, /^3 found, user_nobody: USER_NOT_FOUND\nnot found\n10000 users, /m);
});

test("the README's three lines run", async () => {
  const [code] = blocks("README.md");
  writeFileSync(join(folder, "readme.mjs"), `${code!.replace("127.0.0.1:9090", server.grpc)}clerk.close();`);
  assert.equal(await run("node", "readme.mjs"), "Seth\n");
});

test("the client that uses fetch imports nothing of Node.js, and speaks TLS", async (t) => {
  const files = new Secured();
  t.after(() => files.remove());
  const secured = await Server.start(files.flags);
  t.after(() => secured.stop());
  const code = `import { createClient } from "@clerkgate/client/fetch";
    const clerk = createClient("https://${secured.http}", { token: "${files.token}" });
    console.log((await clerk.whoAmI()).name);`;
  writeFileSync(join(folder, "fetch.mjs"), code);
  const resolve = `export async function resolve(name, context, next) {
    const found = await next(name, context);
    if (found.url.startsWith("node:") || found.url.includes("grpc-js")) throw new Error(context.parentURL + " imports " + found.url);
    return found;
  }`;
  const hook = `import { register } from "node:module"; register("data:text/javascript,${encodeURIComponent(resolve)}");`;
  const args = ["--import", `data:text/javascript,${encodeURIComponent(hook)}`];
  assert.equal(await run("env", `NODE_EXTRA_CA_CERTS=${files.caFile}`, "node", ...args, "fetch.mjs"), "billing\n");
  await assert.rejects(run("node", ...args, "example.mjs"), / imports .*grpc-js/);
});

test("the types of the client that uses fetch need nothing of Node.js", async () => {
  writeFileSync(join(folder, "edge.ts"), 'import { createClient } from "@clerkgate/client/fetch";\nexport const clerk = createClient();\n');
  const module = { module: "esnext", moduleResolution: "bundler", target: "es2022", lib: ["es2022", "webworker"], types: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: { ...module, strict: true, noEmit: true }, files: ["edge.ts"] }));
  await run(join(folder, "node_modules/.bin/tsc"), "-p", ".");
});

test("every piece of TypeScript on the page compiles and runs, in order", async () => {
  const pieces = blocks("docs/clients/node.md");
  assert.ok(pieces.length > 8);
  const code = pieces
    .join("")
    .replace(/^import \{ ClerkgateError \}.*$/m, "") // it is imported below
    .replaceAll("127.0.0.1:9090", server.grpc)
    .replaceAll("127.0.0.1:9091", server.http)
    .replace('readFileSync("ca.crt")', '""');
  writeFileSync(join(folder, "page.ts"), `import { ClerkgateError } from "@clerkgate/client";\n${code}`);
  const flags = "--target es2022 --module nodenext --strict --skipLibCheck false --types node".split(" ");
  await run(join(folder, "node_modules/.bin/tsc"), ...flags, "page.ts");
  assert.match(await run("node", "page.js"), /^no such user$/m);
});
